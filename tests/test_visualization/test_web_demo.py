"""The web demo, driven in a real browser."""
import io
import json
import runpy
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sohes.pseudo_labels.images import load_image
from sohes.structures import Entities
from tests.browser import chromium, watched
from tests.test_visualization.test_viewer import (
    HEIGHT,
    WIDTH,
    drawn_masks,
    drawn_photo,
)


@pytest.fixture
def address(repo_root, tmp_path, monkeypatch):
    """The demo's page, with a finder that knows one photo."""
    pytest.importorskip('gradio')
    monkeypatch.setenv('GRADIO_ANALYTICS_ENABLED', 'False')
    demo = runpy.run_path(str(repo_root / 'demo' / 'web_demo.py'))

    def find(path: str) -> tuple[np.ndarray, Entities]:
        image = load_image(path)
        assert image.shape == (HEIGHT, WIDTH, 3) and image[0, 0, 0] == 90
        photo = drawn_photo()
        return image, Entities(photo.size, photo.rles, photo.scores,
                               photo.forest)

    page = demo['build_page'](find, str(tmp_path), 'A test.')
    _, address, _ = page.launch(server_name='127.0.0.1', share=False,
                                quiet=True, prevent_thread_lock=True)
    yield address
    page.close(verbose=False)


def test_a_dropped_photo_becomes_a_forest(address, tmp_path):
    photo = tmp_path / 'my photo.png'
    Image.fromarray(drawn_photo().image).save(photo)
    with chromium() as browser, watched(browser) as page:
        page.goto(address)
        page.set_input_files('input[type=file]', photo)
        frame = page.frame_locator('iframe.sohes-viewer')
        frame.locator('[data-ready=yes]').wait_for()
        # The same viewer as in the report, which has tests of its own.
        frame.locator('.sv-list [data-id="1"]').click()
        page.keyboard.press('ArrowDown')
        page.keyboard.press('ArrowDown')
        state = frame.locator('#viewer').evaluate('e => ({...e.dataset})')
        assert (state['selected'], state['parent']) == ('3', '2')
        with page.expect_download() as download:
            page.get_by_text('Download masks').click()
        assert download.value.suggested_filename == 'my photo-masks.zip'
        content = Path(download.value.path()).read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for number, mask in enumerate(drawn_masks(), 1):
            drawn = Image.open(archive.open(f'masks/{number:04d}.png'))
            assert (np.asarray(drawn).astype(bool) == mask).all()
        labels = json.loads(archive.read('labels.json'))
    assert [(row['id'], row['parent_id']) for row in labels['annotations']
            ] == [(1, None), (2, 1), (3, 2), (4, None)]


def test_what_is_no_photo_is_one_sentence(address, tmp_path):
    broken = tmp_path / 'broken.png'
    broken.write_bytes(b'no photo')
    with chromium() as browser, watched(browser) as page:
        page.goto(address)
        page.set_input_files('input[type=file]', broken)
        page.get_by_text('broken.png: ').first.wait_for()
        assert page.locator('iframe').count() == 0
