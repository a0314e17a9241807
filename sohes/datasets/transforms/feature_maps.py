"""The cached maps of a frozen ViT, cut to what a view shows."""
import torch
from mmcv.transforms import BaseTransform

from sohes.models.backbones.feature_maps import FeatureMapStore, view_of_map
from sohes.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadFeatureMap(BaseTransform):
    """Read a photo's maps from disk and cut them as the photo was cut.

    It stands behind the transforms that flip, resize and crop. A photo
    without maps has none in the results, and the backbone computes its own.

    Required keys: img_path, ori_shape, img_shape, homography_matrix (as
    mmdet's transforms leave it; absent: the whole photo).

    Added key: feature_map, (C, cells, cells) float32 tensor.

    Args:
        folder (str): Of the maps.
        cells (int): Side of the map that the backbone gives.
    """

    def __init__(self, folder: str, cells: int = 32) -> None:
        self.folder = folder
        self.cells = cells
        self._store: FeatureMapStore | None = None

    def transform(self, results: dict) -> dict:
        """Add the map of this view, if the photo's are there."""
        if self._store is None:
            self._store = FeatureMapStore(self.folder)
        features = self._store.read(results['img_path'])
        if features is None:
            return results
        height, width = results['ori_shape'][:2]
        view = results['img_shape'][:2]
        matrix = results.get('homography_matrix')
        if matrix is None:
            matrix = [[view[1] / width, 0, 0], [0, view[0] / height, 0],
                      [0, 0, 1]]
        results['feature_map'] = view_of_map(
            torch.from_numpy(features).permute(2, 0, 1), matrix,
            (height, width), view, self.cells)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(folder={self.folder!r})'
