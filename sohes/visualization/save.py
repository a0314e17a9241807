"""Pictures of labels on disk, named after their images."""
from pathlib import Path

import numpy as np

from sohes.pseudo_labels.pipeline import PseudoLabels
from sohes.visualization.forest_picture import draw_forest


def picture_path(folder: str | Path, name: str) -> Path:
    """Where an image's picture goes: its own name and subfolders, .jpg.

    The image's suffix stays in the name, so that ``a.png`` and ``a.jpg`` do
    not share a picture.
    """
    return Path(folder) / f'{name}.forest.jpg'


def save_forest_picture(folder: str | Path, name: str, image: np.ndarray,
                        labels: PseudoLabels) -> Path:
    """Draw an image with its forest and save it, whole or not at all.

    Args:
        folder (str | Path): made if missing, with the image's subfolders.
        name (str): the image's path relative to the photos' folder.
        image (np.ndarray): (H, W, 3) uint8 RGB.
        labels (PseudoLabels): of that image.

    Returns:
        Path: of the picture.
    """
    from PIL import Image
    path = picture_path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = draw_forest(image, labels.rles, labels.forest)
    draft = path.with_name(f'.{path.name}.part')
    Image.fromarray(picture).save(draft, 'JPEG', quality=92)
    draft.replace(path)
    return path
