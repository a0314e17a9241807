"""The cached maps of a frozen ViT, cut to what a view shows."""
import numpy as np
import torch
from mmcv.transforms import BaseTransform

from sohes.models.backbones.feature_maps import FeatureMapStore, view_of_map
from sohes.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadFeatureMap(BaseTransform):
    """Read a photo's maps from disk and cut them as the photo was cut.

    It stands behind the transforms that flip, resize and crop. A view
    without a map has none in the results, and the backbone computes its own.

    Required keys: img_path, ori_shape, img_shape, homography_matrix (as
    mmdet's transforms leave it; absent: the whole photo).

    Added key: feature_map, (C, cells, cells) float32 tensor.

    Args:
        folder (str): Of the maps.
        cells (int): Side of the map that the backbone gives.
        max_zoom (float, optional): Views that show a part of the photo
            enlarged more than this get no kept map, so that the ViT looks at
            the part itself; 1 is the whole photo. One percent more counts
            as this much, since sizes are whole pixels. None: every view gets
            one.
    """

    def __init__(self,
                 folder: str,
                 cells: int = 32,
                 max_zoom: float | None = None) -> None:
        self.folder = folder
        self.cells = cells
        self.max_zoom = max_zoom
        self._store: FeatureMapStore | None = None

    def transform(self, results: dict) -> dict:
        """Add the map of this view, if the photo's are there."""
        height, width = results['ori_shape'][:2]
        view = results['img_shape'][:2]
        matrix = results.get('homography_matrix')
        if matrix is None:
            matrix = [[view[1] / width, 0, 0], [0, view[0] / height, 0],
                      [0, 0, 1]]
        if self.max_zoom is not None:
            # Pixels of the view for each of the photo, against the whole.
            zoom = np.sqrt(
                abs(np.linalg.det(matrix)) * height * width / np.prod(view))
            if zoom > self.max_zoom * 1.01:
                return results
        if self._store is None:
            self._store = FeatureMapStore(self.folder)
        features = self._store.read(results['img_path'])
        if features is None:
            return results
        results['feature_map'] = view_of_map(
            torch.from_numpy(features).permute(2, 0, 1), matrix,
            (height, width), view, self.cells)
        return results

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(folder={self.folder!r}, '
                f'max_zoom={self.max_zoom})')
