"""Videos, frame by frame."""
from collections.abc import Iterable
from pathlib import Path

import mmcv
import numpy as np

from sohes.apis.generate import UsageError
from sohes.evaluation.predictions import ImagePrediction
from sohes.structures import PackedMasks
from sohes.visualization.colors import forest_colors
from sohes.visualization.panels import paint_level

VIDEO_ENDINGS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v')


def read_frames(path: str) -> mmcv.VideoReader:
    """Open a video; frames come as (H, W, 3) uint8 BGR.

    Raises:
        UsageError: there is none, or OpenCV cannot read it.
    """
    if not Path(path).is_file():
        raise UsageError(f'{path}: no such video')
    frames = mmcv.VideoReader(path)
    if not frames.opened or not frames.width or not len(frames):
        raise UsageError(f'{path}: no video that OpenCV can read')
    return frames


def write_video(
        path: Path, fps: float,
        frames: Iterable[tuple[np.ndarray, ImagePrediction]]) -> None:
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
    draft = path.with_name(f'.{path.stem}.part.mp4')
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


def _paint(frame: np.ndarray, found: ImagePrediction) -> np.ndarray:
    """(H, W, 3) uint8 BGR, the same size."""
    if not found.rles:
        return frame
    masks = PackedMasks.from_any(found.rles)
    colors = forest_colors(found.forest, masks.areas)
    painted = paint_level(frame[..., ::-1], masks, range(len(masks)), colors,
                          frame.shape[:2])
    return np.ascontiguousarray(painted[..., ::-1])
