"""Entities of one image pasted onto another, with their parts."""
import numpy as np
import torch
import torch.nn.functional as F
from mmcv.transforms import BaseTransform
from torch import Tensor

from sohes.datasets.entity_masks import EntityMasks
from sohes.registry import TRANSFORMS
from sohes.structures.rle_kernels import subtract

#: How many bits of each byte are set.
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(
    axis=1, dtype=np.uint8)


@TRANSFORMS.register_module()
class EntityCopyPaste(BaseTransform):
    """Copy-paste (Ghiasi et al. 2021) that keeps the forest right.

    Some entities of a second image are pasted at the place where they are
    there. Each brings its descendants, and what hung from an entity that
    stays behind becomes a root. Pasted masks cover those of the first
    image; of these the ones that are covered nearly whole disappear, and
    leave their children to their parent.

    In a pipeline of `sohes.EntityDataset` it needs no wrapper: the dataset
    takes the second image through the transforms that come before this one.
    Inside mmdet's ``MultiImageMixDataset`` it works like ``CopyPaste``.
    Both images should have been padded to one size: a second image of
    another size is cropped, or padded, to that of the first, at the upper
    left.

    The ``feature_map`` of `LoadFeatureMap`, if there is one, is mixed by the
    share of each cell that is pasted upon.

    Required and modified keys: img, gt_masks (EntityMasks), gt_bboxes,
    gt_bboxes_labels, gt_ignore_flags; of ``mix_results``, which goes, img
    and gt_masks. Added key: covered (float), the share of the pixels in any
    mask of the first image that are covered.

    Args:
        prob (float): of pasting at all, in [0, 1].
        max_pasted (int): most entities chosen, descendants not counted. As
            in mmdet, how many is uniform from 0 to all or this.
        choose (str): 'node' chooses among all entities, 'root' among whole
            ones only.
        min_visible (float): a mask disappears when a smaller share of its
            pixels is left, in [0, 1]. One without pixels always does.
        max_covered (float): most of ``covered``, in [0, 1]. A chosen entity
            that would hide more, together with those before it, is left
            out. Where the masks fill the frame, as pseudo-labels do, some
            entities with all their descendants hide half of the first image
            on average, and often nearly all: its labels are then lost.

    Raises:
        ValueError: for a value out of range.
    """

    def __init__(self,
                 prob: float = 1.0,
                 max_pasted: int = 100,
                 choose: str = 'node',
                 min_visible: float = 0.1,
                 max_covered: float = 1.0) -> None:
        for name, value in (('prob', prob), ('min_visible', min_visible),
                            ('max_covered', max_covered)):
            if not 0 <= value <= 1:
                raise ValueError(f'{name} must be in [0, 1], got {value}')
        if choose not in ('node', 'root'):
            raise ValueError(
                f"choose must be 'node' or 'root', got {choose!r}")
        if max_pasted < 1:
            raise ValueError(f'max_pasted must be 1 or more, got {max_pasted}')
        self.prob = prob
        self.max_pasted = max_pasted
        self.choose = choose
        self.min_visible = min_visible
        self.max_covered = max_covered

    def get_indexes(self, dataset: object) -> list[int]:
        """Which other image to paste from; none if nothing is pasted.

        Args:
            dataset: with a length.
        """
        if np.random.rand() >= self.prob:
            return []
        return [int(np.random.randint(len(dataset)))]

    def transform(self, results: dict) -> dict:
        results['covered'] = 0.0
        for source in results.pop('mix_results', []):
            masks = source['gt_masks']
            groups = self._choose(masks)
            some = np.flatnonzero(groups.any(axis=0))
            if len(some):
                self._paste(results, source, masks[some], groups[:, some])
        return results

    def _choose(self, masks: EntityMasks) -> np.ndarray:
        """(K, N) bool, the entities to paste: each with all of its parts."""
        forest = masks.forest
        candidates = np.arange(len(masks))
        if self.choose == 'root':
            candidates = np.array(forest.roots, np.int64)
        most = min(len(candidates), self.max_pasted)
        count = np.random.randint(most + 1)
        seeds = np.random.choice(candidates, count, replace=False)
        groups = forest.ancestors[seeds]
        groups[np.arange(count), seeds] = True
        return groups

    def _bounded(self, bits: np.ndarray, groups: np.ndarray,
                 target: np.ndarray) -> tuple[np.ndarray, float]:
        """Leave out the entities that would hide too much.

        Args:
            bits: (N, H, ceil(W / 8)) uint8, masks that may be pasted.
            groups: (K, N) bool, of :meth:`_choose`.
            target: (M, H, ceil(W / 8)) uint8, masks that are pasted upon.

        Returns:
            (N,) bool, the masks to paste, and the share of the target that
            they cover.
        """
        whole = np.bitwise_or.reduce(target, axis=0)
        most = max(count_pixels(whole), 1)
        pasted = np.zeros(len(bits), bool)
        cover, hidden = np.zeros_like(whole), 0
        for group in groups:
            added = cover | np.bitwise_or.reduce(bits[group], axis=0)
            hides = count_pixels(added & whole)
            if hides <= self.max_covered * most:
                cover, hidden, pasted = added, hides, pasted | group
        return pasted, hidden / most

    def _paste(self, results: dict, source: dict, pasted: EntityMasks,
               groups: np.ndarray) -> None:
        masks = results['gt_masks']
        if (pasted.height, pasted.width) != (masks.height, masks.width):
            pasted = pasted.pad((masks.height, masks.width))
        chosen, results['covered'] = self._bounded(
            pasted.draw()[0], groups, masks.draw()[0])
        pasted = pasted[chosen & (pasted.areas > 0)]
        if not len(pasted):
            return
        cover = np.bitwise_or.reduce(pasted.draw()[0], axis=0)
        results['img'] = _blend(results['img'], source['img'], cover)
        if 'feature_map' in results:
            _paste_map(results, source.get('feature_map'), cover)
        bits, areas, boxes = masks.draw()
        rest = subtract(bits, boxes, cover)
        keep = (rest[1] > 0) & (rest[1] >= self.min_visible * areas)
        rest = tuple(part[keep] for part in rest)
        visible = EntityMasks.from_bits(rest, masks.width, masks.ids[keep],
                                        masks.nodes, masks.node_scores)
        masks = EntityMasks.cat([visible, pasted])
        results['gt_masks'] = masks
        results['gt_bboxes'] = masks.get_bboxes(type(results['gt_bboxes']))
        results['gt_bboxes_labels'] = np.zeros(len(masks), np.int64)
        results['gt_ignore_flags'] = np.zeros(len(masks), bool)

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(prob={self.prob}, '
                f'max_pasted={self.max_pasted}, choose={self.choose!r}, '
                f'min_visible={self.min_visible}, '
                f'max_covered={self.max_covered})')


def count_pixels(bits: np.ndarray) -> int:
    """Pixels that are set; numpy 1 has no bitwise_count."""
    return int(_BITS[bits].sum())


def _paste_map(results: dict, source: Tensor | None,
               cover: np.ndarray) -> None:
    """The kept map of a frozen ViT, mixed as the image is.

    A stand-in for the map of the mixed image, which the ViT would have to
    compute; without one of the second image it has to.
    """
    if source is None:
        del results['feature_map']
        return
    height, width = results['img'].shape[:2]
    inside = np.unpackbits(cover[:height], axis=1, count=width)
    # (H, W) -> (h, w), the share of each cell that is pasted
    share = F.adaptive_avg_pool2d(
        torch.from_numpy(inside)[None].float(), source.shape[1:])
    results['feature_map'] = torch.lerp(results['feature_map'], source, share)


def _blend(image: np.ndarray, source: np.ndarray,
           cover: np.ndarray) -> np.ndarray:
    """(H, W, 3): where the packed cover is set, the source's pixels."""
    height = min(len(image), len(source))
    width = min(image.shape[1], source.shape[1])
    inside = np.unpackbits(cover[:height], axis=1, count=width).view(bool)
    image = image.copy()
    np.copyto(image[:height, :width], source[:height, :width],
              where=inside[..., None])
    return image
