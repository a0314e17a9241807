"""The web demo under people who mean no good, and a good photo after them.
"""
import runpy

import numpy as np
import pytest
from PIL import Image

from sohes.apis.photo_worker import PhotoWorker
from sohes.utils.errors import ImageError
from tests.test_visualization import slow_finder

# A good photo takes some thousandths; each bad one costs all of them.
SECONDS = 3


@pytest.fixture
def worker():
    found = PhotoWorker(slow_finder.build, seconds=SECONDS,
                        max_pixels=10_000)
    yield found
    found.close()


def photo(path, color, size=(40, 30)):
    Image.new('RGB', size, color).save(path)
    return str(path)


@pytest.mark.slow
def test_a_photo_costs_only_itself(worker, tmp_path):
    with pytest.raises(ImageError, match=f'took more than {SECONDS} seconds'):
        worker(photo(tmp_path / 'red.png', (255, 0, 0)))
    with pytest.raises(ImageError, match='ended the program'):
        worker(photo(tmp_path / 'blue.png', (0, 0, 255)))
    with pytest.raises(ImageError, match='0.0 million pixels, more than'):
        worker(photo(tmp_path / 'large.png', 'green', (200, 100)))
    image, found = worker(photo(tmp_path / 'good.png', 'green'))
    assert image.shape == (30, 40, 3) and len(found.rles) == 1


@pytest.mark.slow
def test_big_slow_and_many_at_once_then_a_good_one(worker, tmp_path,
                                                   repo_root, monkeypatch):
    gradio = pytest.importorskip('gradio')
    from gradio_client import Client, handle_file
    monkeypatch.setenv('GRADIO_ANALYTICS_ENABLED', 'False')
    demo = runpy.run_path(str(repo_root / 'demo' / 'web_demo.py'))
    page = demo['build_page'](worker, str(tmp_path), 'A test.', 2)
    _, address, _ = page.launch(server_name='127.0.0.1', share=False,
                                quiet=True, prevent_thread_lock=True,
                                max_file_size=1 << 20)
    try:
        client = Client(address, verbose=False,
                        httpx_kwargs=dict(timeout=120))
        noise = np.random.default_rng(0).integers(
            0, 256, (800, 800, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / 'big.bmp')
        with pytest.raises(Exception, match='(?i)size|413|large'):
            client.predict(handle_file(str(tmp_path / 'big.bmp')),
                           api_name='/find')
        red = photo(tmp_path / 'red.png', (255, 0, 0))
        jobs = [client.submit(handle_file(red), api_name='/find')
                for _ in range(20)]
        words = []
        for job in jobs:
            with pytest.raises(Exception) as error:
                job.result(timeout=120)
            words.append(str(error.value))
        # One at a time and two that wait; the others hear so at once.
        assert sum('took more than' in text for text in words) <= 4, words
        assert sum('queue' in text.lower() for text in words) >= 14, words
        frame, _, note = client.predict(
            handle_file(photo(tmp_path / 'good.png', 'green')),
            api_name='/find')
        assert note == '1 masks, 1 whole entities' and 'iframe' in frame
    finally:
        page.close(verbose=False)
    assert gradio is not None
