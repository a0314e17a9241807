"""The end of a pipeline: tensors and a data sample."""
import numpy as np
import torch
from mmdet.datasets.transforms import PackDetInputs
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks

from sohes.registry import TRANSFORMS
from sohes.structures.bit_masks import BitMasks


@TRANSFORMS.register_module()
class PackEntityInputs(PackDetInputs):
    """Pack an image, its masks and who is an ancestor of whom.

    Here the masks are drawn. Those that a crop has left without pixels, or
    with fewer than ``min_area``, are left out; their children go to the
    nearest ancestor that stays. Boxes are taken anew from the pixels.

    Packed, for N masks: ``inputs``, (3, H, W) uint8, and ``data_samples``
    with ``gt_instances``:

    - bboxes (HorizontalBoxes): (N, 4) float32, in pixels.
    - labels (Tensor): (N,) int64, all 0.
    - masks (BitMasks): N of (H, W).
    - ancestors (Tensor): (N, N) bool, ``[i, j]``: i is an ancestor of j.
      After indexing ``gt_instances`` its second dimension is still that of
      before: whoever filters must index both.
    - scores (Tensor): (N,) float32, of the json; 1 where it has none.

    Without ``gt_masks``, as when testing, only the image is packed. A
    ``feature_map`` of `LoadFeatureMap` becomes one of the data sample.

    Args:
        min_area (int): fewest pixels of a mask.
        bitmaps (bool): masks as mmdet's ``BitmapMasks``, without
            ``ancestors`` and ``scores``: for its own detectors, such as
            Cascade Mask R-CNN (table 8); with ``levels``, (N,) int64, for
            HASSOD's.
        **kwargs: of ``PackDetInputs``.

    Raises:
        ValueError: if ``min_area`` is under 1.
    """

    def __init__(self,
                 min_area: int = 1,
                 bitmaps: bool = False,
                 **kwargs) -> None:
        if min_area < 1:
            raise ValueError(f'min_area must be 1 or more, got {min_area}')
        super().__init__(**kwargs)
        self.min_area = min_area
        self.bitmaps = bitmaps

    def transform(self, results: dict) -> dict:
        packed = self._pack(results)
        if 'feature_map' in results:
            packed['data_samples'].feature_map = results['feature_map']
        return packed

    def _pack(self, results: dict) -> dict:
        masks = results.get('gt_masks')
        if masks is None:
            return super().transform(results)
        results = dict(results)
        keep = np.flatnonzero(masks.areas >= self.min_area)
        if len(keep) < len(masks):
            masks = masks[keep]
        bits, _, boxes = masks.draw()
        # Not in the results: no mask is ignored, and mmdet would index.
        results.pop('gt_ignore_flags', None)
        packed_masks = BitMasks(torch.from_numpy(bits), masks.width)
        results['gt_masks'] = packed_masks
        if self.bitmaps:
            results['gt_masks'] = BitmapMasks(
                packed_masks.dense().numpy().astype(np.uint8), masks.height,
                masks.width)
            # mmdet's detectors ask for the boxes of ignored masks, too.
            results['gt_ignore_flags'] = np.zeros(len(masks), bool)
        results['gt_bboxes'] = HorizontalBoxes(boxes.astype(np.float32))
        results['gt_bboxes_labels'] = np.zeros(len(masks), np.int64)
        packed = super().transform(results)
        truth = packed['data_samples'].gt_instances
        if self.bitmaps:
            truth.levels = torch.from_numpy(masks.levels)
        else:
            truth.ancestors = torch.from_numpy(masks.forest.ancestors.copy())
            truth.scores = torch.from_numpy(masks.scores)
        return packed

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(min_area={self.min_area}, '
                f'bitmaps={self.bitmaps}, meta_keys={self.meta_keys})')
