"""A headless Chromium for tests of pages, where one can be found."""
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')


def chromium_path() -> str:
    """``$SOHES_CHROMIUM`` or the first of NAMES; a skip where none is."""
    path = os.environ.get('SOHES_CHROMIUM') or next(
        filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f'no browser: none of {", ".join(NAMES)} is installed '
                    '(Debian: apt install chromium) and SOHES_CHROMIUM names '
                    'none')
    return path


@contextmanager
def chromium() -> Iterator[Any]:
    """Playwright's ``Browser``; a skip where there is none."""
    path = chromium_path()
    api = pytest.importorskip('playwright.sync_api')
    with api.sync_playwright() as driver:
        # In a container Chromium may not make its own sandbox.
        browser = driver.chromium.launch(
            executable_path=path, args=['--no-sandbox', '--disable-gpu'])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def watched(browser: Any, **options: Any) -> Iterator[Any]:
    """A new page that fails the test for an error, or a foreign address."""
    page = browser.new_page(**options)
    page.set_default_timeout(60000)  # a busy machine is slow
    wrong: list[str] = []
    page.on('pageerror', lambda error: wrong.append(str(error)))
    page.on('request', lambda request: wrong.append(request.url)
            if request.url.split(':')[0] in ('http', 'https', 'ws', 'wss')
            and '//127.0.0.1' not in request.url else None)
    yield page
    page.close()
    assert not wrong
