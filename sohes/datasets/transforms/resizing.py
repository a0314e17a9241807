"""Sizes of images of any shape."""
import mmcv
from mmdet.datasets.transforms import Resize

from sohes.registry import TRANSFORMS


@TRANSFORMS.register_module()
class EntityResize(Resize):
    """mmdet's ``Resize``, of which no side becomes 0 pixels.

    With ``keep_ratio`` a line of 900 x 1 pixels would be 64 x 0, which OpenCV
    refuses; here it is 64 x 1. Every other image is as in mmdet.
    """

    def transform(self, results: dict) -> dict:
        """See ``Resize.transform``."""
        size = results['img'].shape[1::-1]
        if not (self.keep_ratio and self.scale):
            return super().transform(results)
        wanted = mmcv.rescale_size(size, self.scale)
        if min(wanted) > 0:
            return super().transform(results)
        stretched = Resize(
            scale=tuple(max(1, side) for side in wanted),
            clip_object_border=self.clip_object_border,
            backend=self.backend,
            interpolation=self.interpolation)
        return dict(stretched.transform(results), scale=self.scale,
                    keep_ratio=True)
