"""Videos are files of known containers, and nothing that leads elsewhere."""
from pathlib import Path

import cv2
import numpy as np
import pytest

from sohes.apis.video import VIDEO_ENDINGS, Frames
from sohes.utils.errors import UsageError


def write_film(path: Path, code: str) -> None:
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 5,
                            (64, 48))
    if not video.isOpened():
        pytest.skip(f'this OpenCV writes no {code}')
    for grey in (0, 100, 200):
        video.write(np.full((48, 64, 3), grey, np.uint8))
    video.release()


@pytest.mark.parametrize(('name', 'code'), [
    ('a.mp4', 'mp4v'), ('a.mov', 'mp4v'), ('a.m4v', 'mp4v'),
    ('a.avi', 'MJPG'), ('a.mkv', 'mp4v'), ('a.webm', 'VP80')])
def test_what_opencv_writes_is_read(tmp_path, name, code):
    write_film(tmp_path / name, code)
    assert [frame.shape for frame in Frames(str(tmp_path / name))] == (
        [(48, 64, 3)] * 3)


def other_content(folder: Path) -> dict[str, bytes]:
    """Content of a file that is no video, by what is said of it."""
    film = folder / 'whole.mp4'
    write_film(film, 'mp4v')
    return {
        'm3u8': (f'#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{film}\n'
                 '#EXT-X-ENDLIST\n').encode(),
        'ffconcat': f"ffconcat version 1.0\nfile '{film}'\n".encode(),
        'XML': b'\xef\xbb\xbf\n<?xml version="1.0"?><MPD></MPD>',
        'a text': f"file '{film}'\n".encode(),
        'a JPEG': b'\xff\xd8\xff\xe0' + bytes(99),
        'PostScript': b'%!PS-Adobe-3.0\n',
        'zip': b'PK\3\4' + bytes(99),
        'empty': b'',
        'none of these': bytes(range(200)),
    }


@pytest.mark.parametrize('said', [
    'm3u8', 'ffconcat', 'XML', 'a text', 'a JPEG', 'PostScript', 'zip',
    'empty', 'none of these'])
def test_no_decoder_sees_anything_else(tmp_path, monkeypatch, said):
    content = other_content(tmp_path)[said]

    def opened(*_: object) -> None:
        raise AssertionError('OpenCV was asked')

    monkeypatch.setattr(cv2, 'VideoCapture', opened)
    for ending in VIDEO_ENDINGS:
        path = tmp_path / f'film{ending}'
        path.write_bytes(content)
        with pytest.raises(UsageError) as error:
            Frames(str(path))
        text = str(error.value)
        assert text.startswith(f'{path}: expected a video') and said in text


def test_a_name_is_never_an_address(tmp_path, monkeypatch):
    write_film(tmp_path / 'a.mp4', 'mp4v')
    (tmp_path / 'concat:other.mp4').write_bytes(
        (tmp_path / 'a.mp4').read_bytes())
    monkeypatch.chdir(tmp_path)
    # As an address it would name other.mp4, which is not there.
    assert len(list(Frames('concat:other.mp4'))) == 3


def test_frames_have_the_bound_of_photos(tmp_path, monkeypatch):
    write_film(tmp_path / 'a.mp4', 'mp4v')
    monkeypatch.setenv('SOHES_MAX_PIXELS', '3000')
    import PIL.Image
    monkeypatch.setattr(PIL.Image, 'MAX_IMAGE_PIXELS', 3000)
    with pytest.raises(UsageError, match='a.mp4: a frame has'):
        Frames(str(tmp_path / 'a.mp4'))
