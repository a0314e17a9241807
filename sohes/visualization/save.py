"""Pictures of labels on disk, named after their images."""
from pathlib import Path

import numpy as np

from sohes.structures import EntityForest
from sohes.structures.mask_ops import MaskLike
from sohes.utils.files import fitting_name, whole_file
from sohes.visualization.forest_picture import draw_forest


def picture_path(folder: str | Path, name: str) -> Path:
    """Where an image's picture goes: its own name and subfolders, .jpg.

    The image's suffix stays in the name, so that ``a.png`` and ``a.jpg`` do
    not share a picture.

    Raises:
        ValueError: the name leads out of the folder.
    """
    place = Path(name)
    if place.is_absolute() or '..' in place.parts:
        raise ValueError(f'a picture of {name!r:.200} would lie outside '
                         f'{folder}')
    place = Path(folder, name)
    return place.with_name(fitting_name(place.name, '.forest.jpg'))


def save_forest_picture(folder: str | Path,
                        name: str,
                        image: np.ndarray,
                        masks: MaskLike,
                        forest: EntityForest,
                        scores: np.ndarray | None = None) -> Path:
    """Draw an image with its forest and save it, whole or not at all.

    Args:
        folder (str | Path): made if missing, with the image's subfolders.
        name (str): the image's path relative to the photos' folder.
        image, masks, forest, scores: see
            :func:`~sohes.visualization.draw_forest`.

    Returns:
        Path: of the picture.
    """
    path = picture_path(folder, name)
    save_picture(path, draw_forest(image, masks, forest, scores))
    return path


def save_picture(path: Path, picture: np.ndarray) -> None:
    """Save a picture, (H, W, 3) uint8 RGB, whole or not at all.

    As PNG if the name ends in .png, else as JPEG.
    """
    from PIL import Image
    kind = 'PNG' if path.suffix.lower() == '.png' else 'JPEG'
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, binary=True) as file:
        Image.fromarray(picture).save(file, kind, quality=92)
