"""Videos, frame by frame."""
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from sohes.structures import Entities
from sohes.utils.errors import UsageError
from sohes.utils.files import fitting_name
from sohes.utils.limits import pixel_limit, too_large
from sohes.visualization.panels import paint_masks

# Heads without a duration hold numbers beyond these, or none.
_MAX_FPS, _USUAL_FPS, _MAX_FRAMES = 480, 25.0, 1e9
#: How the containers begin. Whatever else OpenCV's readers know is refused
#: before they see it: a playlist names other files and web addresses, and
#: they would open those.
_AT_4 = (b'ftyp', b'moov', b'mdat', b'wide', b'free', b'skip', b'pnot')
_NAMED = ((b'#EXTM3U', 'a playlist (m3u8)'), (b'ffconcat', 'a list of other '
          'files (ffconcat)'), (b'<', 'a page or a playlist in XML'),
          (b'\xff\xd8\xff', 'a JPEG'), (b'\x89PNG', 'a PNG'),
          (b'GIF8', 'a GIF'), (b'%!PS', 'PostScript'), (b'%PDF', 'a PDF'),
          (b'PK\3\4', 'a zip archive'))
VIDEO_ENDINGS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v')


class Frames:
    """The frames of a video, (H, W, 3) uint8 BGR, one after the other.

    Args:
        path: of the video.

    Attributes:
        fps: frames a second.
        count: how many there are by the file's head; None: it does not say,
            as where a browser recorded it.

    Raises:
        UsageError: there is none, it is no mp4, mov, avi, mkv or webm by
            its content, its frames are too large, or OpenCV cannot read it.
    """

    def __init__(self, path: str) -> None:
        import cv2
        if not Path(path).is_file():
            raise UsageError(f'{path}: no such video')
        _check_container(path)
        # A name such as concat:a|b would be more than a file's.
        self.path = os.path.abspath(path)
        video = cv2.VideoCapture(self.path)
        pixels = int(video.get(cv2.CAP_PROP_FRAME_WIDTH) *
                     video.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if pixels > pixel_limit():
            video.release()
            raise UsageError(f'{path}: a frame {too_large(pixels)}')
        readable, _ = video.read()
        if not readable:
            raise UsageError(f'{path}: no video that OpenCV can read')
        fps = video.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps <= _MAX_FPS else _USUAL_FPS
        count = video.get(cv2.CAP_PROP_FRAME_COUNT)
        self.count = int(count) if 0 < count < _MAX_FRAMES else None
        video.release()

    def __iter__(self) -> Iterator[np.ndarray]:
        import cv2
        video = cv2.VideoCapture(self.path)
        try:
            while (found := video.read())[0]:
                yield found[1]
        finally:
            video.release()


def _check_container(path: str) -> None:
    """Refuse by name what is no mp4, mov, avi, mkv or webm.

    Raises:
        UsageError: with what it seems to be.
    """
    with open(path, 'rb') as file:
        start = file.read(512)
    if (start[4:8] in _AT_4 or start[:4] == b'\x1a\x45\xdf\xa3'
            or (start[:4] == b'RIFF' and start[8:12] in (b'AVI ', b'AVIX'))):
        return
    bare = start.removeprefix(b'\xef\xbb\xbf').lstrip()
    found = next((name for begins, name in _NAMED
                  if bare.startswith(begins)), None)
    if found is None:
        is_text = bare and not any(byte < 9 for byte in bare)
        found = ('a text' if is_text else 'none of these' if start else
                 'an empty file')
    raise UsageError(f'{path}: expected a video in mp4, mov, avi, mkv or '
                     f'webm, found {found}; it was not opened')


def write_video(
        path: Path, fps: float,
        frames: Iterable[tuple[np.ndarray, Entities]]) -> None:
    """Paint entities over frames, parts over their wholes.

    Entities are not followed over time, so colours may change from frame to
    frame. The file appears when it is complete.

    Args:
        path: an .mp4; its folder is made.
        fps: frames a second.
        frames: (H, W, 3) uint8 BGR, all of one size, and what was found.

    Raises:
        UsageError: OpenCV cannot write mp4 here.
    """
    import cv2
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f'.{fitting_name(path.stem, ".part.mp4", 1)}')
    writer = None
    try:
        for frame, found in frames:
            if writer is None:
                size = frame.shape[1], frame.shape[0]
                writer = cv2.VideoWriter(
                    str(draft), cv2.VideoWriter_fourcc(*'mp4v'), fps, size)
                if not writer.isOpened():
                    raise UsageError(f'{path}: OpenCV cannot write mp4 here')
            writer.write(_paint(frame, found))
        if writer is not None:
            writer.release()
            draft.replace(path)
    finally:
        if writer is not None:
            writer.release()
        draft.unlink(missing_ok=True)


def _paint(frame: np.ndarray, found: Entities) -> np.ndarray:
    """(H, W, 3) uint8 BGR, the same size."""
    if not len(found):
        return frame
    painted = paint_masks(frame[..., ::-1], found.rles, found.forest)
    return np.ascontiguousarray(painted[..., ::-1])
