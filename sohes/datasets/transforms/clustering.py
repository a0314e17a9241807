"""Phase 1 inside a pipeline: an image in, its pseudo-labels beside it."""
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from sohes.datasets.mask_sources import RleSource
from sohes.datasets.transforms.loading import ground_truth
from sohes.pseudo_labels.options import ExploreOptions
from sohes.pseudo_labels.pipeline import explore
from sohes.registry import MODELS, TRANSFORMS
from sohes.structures import Entities


@TRANSFORMS.register_module()
class ClusterPseudoLabels(BaseTransform):
    """Label an image by clustering (section 3.1), as ground truth.

    The labels are those of `sohes.pseudo_labels.explore` for the same
    pixels. mmcv's ``LoadImageFromFile`` decodes some kinds of files unlike
    ``tools/generate_pseudo_labels.py`` does; with
    ``imdecode_backend='pillow'`` ordinary photos give the same pixels.

    The extractor is built at the first image, once a process, so that the
    transform can be sent to the workers of a data loader. These have no
    GPU: with ``num_workers=0`` the extractor may use one.

    Required keys:

    - img: (H, W, 3) uint8, as loaded, before any resizing.

    Added keys, N masks, best score first:

    - gt_masks (EntityMasks): N masks at (H, W), with ids and forest.
    - gt_bboxes (HorizontalBoxes): (N, 4) float32, in pixels.
    - gt_bboxes_labels (np.ndarray): (N,) int64, all 0, 'entity'.
    - gt_ignore_flags (np.ndarray): (N,) bool, all False.

    These are the keys of :class:`LoadEntities`, and the same transforms may
    follow, up to `sohes.PackEntityInputs`, which mmdet's own detectors want
    with ``bitmaps=True``.

    Args:
        extractor (dict): config of the feature extractor, its type
            ``sohes.ViTFeatureExtractor`` if there is none: at least
            ``weights``.
        pseudo_labels (dict, optional): values of `ExploreOptions`. Without
            ``thresholds`` those of the extractor's preset count.
        channel_order (str): of ``img``, 'bgr' as mmcv loads it, or 'rgb'.

    Raises:
        ValueError: for an unknown key, or a value out of range, by name.
    """

    def __init__(self,
                 extractor: Mapping[str, Any],
                 pseudo_labels: Mapping[str, Any] | None = None,
                 channel_order: str = 'bgr') -> None:
        if channel_order not in ('bgr', 'rgb'):
            raise ValueError("channel_order must be 'bgr' or 'rgb', found "
                             f'{channel_order!r}')
        self.extractor = dict(extractor)
        self.extractor.setdefault('type', 'sohes.ViTFeatureExtractor')
        self.options = ExploreOptions.from_dict(pseudo_labels or {})
        self.channel_order = channel_order
        self._built: tuple[int, Any] | None = None

    def transform(self, results: dict) -> dict:
        """Add the pseudo-labels of ``img``.

        Args:
            results (dict): of the pipeline.

        Returns:
            dict: the same, with the keys listed above.

        Raises:
            ValueError: if ``img`` is not (H, W, 3) uint8.
        """
        image = results['img']
        if self.channel_order == 'bgr':
            image = image[..., ::-1]
        labels = explore(
            np.ascontiguousarray(image), self._build(), self.options)
        results.update(_as_ground_truth(labels))
        return results

    def _build(self) -> Any:
        """The extractor of this process: after a fork torch's threads of
        the parent are gone, and whoever waits for them hangs.
        """
        if self._built is None or self._built[0] != os.getpid():
            self._built = (os.getpid(), MODELS.build(dict(self.extractor)))
        return self._built[1]

    def __getstate__(self) -> dict:
        """What travels to another process: the config, not the ViT."""
        return dict(self.__dict__, _built=None)

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(extractor={self.extractor}, '
                f'pseudo_labels={self.options}, '
                f'channel_order={self.channel_order!r})')


def _as_ground_truth(labels: Entities) -> dict[str, Any]:
    """The labels as :class:`LoadEntities` would give them."""
    texts = [rle['counts'].encode() for rle in labels.rles]
    lengths = np.array([len(text) for text in texts], np.int64)
    ends = lengths.cumsum()
    source = RleSource(
        np.frombuffer(b''.join(texts), np.uint8),
        np.stack([ends - lengths, ends], axis=1), *labels.size)
    return ground_truth(source, labels.boxes(), labels.forest,
                        labels.scores)
