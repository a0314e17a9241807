"""Feature maps of a frozen ViT, kept on disk and cut to a view."""
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sohes.utils.files import whole_file

#: Of the files here, so that nothing else is ever counted or deleted.
SUFFIX = '.map.npy'


class FeatureMapStore:
    """A folder with one map a photo.

    A file is named by the fingerprint of the photo's bytes, the ViT's
    weights and the settings: a changed photo, other weights or other
    settings never find a map that is not theirs. Files appear whole or not
    at all, so that several processes may write.

    Args:
        folder: Made when the first file is written.
        settings: Whatever decides the maps besides the photo, as JSON.
            They are kept beside the maps, so that whoever only reads need
            not know them. None: those that are kept there.
        max_gb: :meth:`write` refuses to let the folder grow beyond it.
    """

    def __init__(self, folder: str | Path, settings: Mapping | None = None,
                 max_gb: float = 8.0) -> None:
        self.folder = Path(folder)
        kept = self.folder / 'settings.json'
        if settings is not None:
            self.settings = json.dumps(settings, sort_keys=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole_file(kept) as file:
                file.write(self.settings)
        else:
            self.settings = kept.read_text() if kept.is_file() else ''
        self.max_gb = max_gb
        self._bytes: int | None = None

    def path(self, photo: str | Path) -> Path:
        """The file of a photo's maps, whether it exists or not."""
        digest = hashlib.sha256(self.settings.encode())
        digest.update(Path(photo).read_bytes())
        return self.folder / f'{digest.hexdigest()[:40]}{SUFFIX}'

    def read(self, photo: str | Path) -> NDArray[np.float16] | None:
        """The map of a photo, (h, w, C); None: it is not here."""
        path = self.path(photo)
        return np.load(path) if path.is_file() else None

    def write(self, photo: str | Path,
              features: NDArray[np.floating]) -> Path:
        """Keep the map of a photo, in half precision.

        Args:
            photo: The photo's file.
            features: (h, w, C).

        Raises:
            OSError: The folder would grow beyond ``max_gb``.
        """
        size = features.size * 2
        if self._bytes is None:
            self._bytes = sum(each.stat().st_size for each in self.files())
        if self._bytes + size > self.max_gb * 1e9:
            raise OSError(
                f'{self.folder} holds {self._bytes / 1e9:.1f} GB of feature '
                f'maps, and one more would pass max_gb={self.max_gb}; raise '
                'it, or delete them with tools/misc/feature_maps.py --delete')
        self._bytes += size
        path = self.path(photo)
        with whole_file(path, binary=True) as file:
            np.save(file, features.astype(np.float16))
        return path

    def files(self) -> list[Path]:
        """All files of maps in the folder, of any settings."""
        return sorted(self.folder.glob(f'*{SUFFIX}'))

    def delete(self) -> int:
        """Delete all files of maps in the folder; how many there were."""
        files = self.files()
        for each in files:
            each.unlink(missing_ok=True)
        self._bytes = None
        return len(files)


def view_of_map(features: Tensor,
                homography: ArrayLike,
                photo_size: Sequence[int],
                view_size: Sequence[int],
                cells: int) -> Tensor:
    """What a crop, resize and flip of a photo shows of its map.

    Args:
        features: (C, h, w), over the whole photo.
        homography: (3, 3), from pixels of the photo to those of the view.
        photo_size: (H, W) of the photo.
        view_size: (H, W) of the view.
        cells: Side of the map wanted.

    Returns:
        (C, cells, cells) float32; each cell is the mean of 2 x 2 bilinear
        samples.
    """
    side = 2 * cells
    centres = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(centres * view_size[1], centres * view_size[0])
    # (3, side * side), pixels of the view -> of the photo
    at = np.linalg.inv(np.asarray(homography, np.float64)) @ np.stack(
        [x.ravel(), y.ravel(), np.ones(side * side)])
    at = (at[:2] / at[2]).T / np.array(photo_size[:2])[::-1]
    grid = torch.from_numpy(at * 2 - 1).float().view(1, side, side, 2)
    samples = F.grid_sample(
        features[None].float(), grid.to(features.device), mode='bilinear',
        padding_mode='border', align_corners=False)
    return F.avg_pool2d(samples, 2)[0]
