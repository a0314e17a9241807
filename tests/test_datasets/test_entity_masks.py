import copy

import numpy as np
import pytest
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from pycocotools import mask as coco_mask

from sohes.datasets.entity_masks import EntityMasks
from sohes.datasets.mask_sources import RleSource
from sohes.structures import EntityForest


def entity_masks(dense: np.ndarray, parents=None) -> EntityMasks:
    """Masks as an index gives them."""
    texts = [coco_mask.encode(np.asfortranarray(m.astype(np.uint8)))['counts']
             for m in dense]
    stops = np.cumsum([len(text) for text in texts], dtype=np.int64)
    spans = np.stack([stops - [len(text) for text in texts], stops], 1)
    blob = np.frombuffer(b''.join(texts), np.uint8)
    parents = [-1] * len(dense) if parents is None else parents
    return EntityMasks(
        RleSource(blob, spans.astype(np.int64), *dense.shape[1:]),
        np.arange(len(dense)), EntityForest(parents))


def blobs(rng, count: int, height: int, width: int) -> np.ndarray:
    """Masks with edges, holes and single pixels, and an empty one."""
    rows, columns = np.mgrid[:height, :width]
    masks = np.zeros((count, height, width), bool)
    for mask in masks[1:]:
        y, x, r = rng.random(3) * (height, width, max(height, width) / 2)
        mask |= (rows - y)**2 + (columns - x)**2 < r**2
        mask ^= rng.random((height, width)) < 0.01
    return masks


STEPS = {
    'nothing': [],
    'flip': [('flip', 'horizontal')],
    'upside down': [('flip', 'vertical')],
    'both': [('flip', 'diagonal')],
    'smaller': [('resize', (17, 40))],
    'larger': [('resize', (131, 97))],
    'rescale': [('rescale', (200, 100))],
    'crop': [('crop', np.array([3, 5, 40, 30]))],
    'pad': [('pad', (90, 120))],
    'move': [('translate', (61, 83), 5, 'horizontal'),
             ('translate', (61, 83), -7, 'vertical')],
    'expand': [('expand', 99, 101, 7, 9)],
    'LSJ': [('flip', 'horizontal'), ('rescale', (300, 90)),
            ('crop', np.array([11, 0, 75, 64])), ('pad', (64, 70)),
            ('flip', 'vertical')],
    'twice': [('resize', (30, 31)), ('flip', 'diagonal'), ('pad', (40, 50)),
              ('flip', 'horizontal'), ('resize', (90, 70)),
              ('crop', np.array([0, 8, 60, 80]))],
}


@pytest.mark.parametrize('steps', STEPS.values(), ids=STEPS.keys())
def test_equal_to_bitmap_masks_to_the_pixel(rng, steps):
    dense = blobs(rng, 6, 61, 83)
    lazy = entity_masks(dense)
    full = BitmapMasks(dense.astype(np.uint8), 61, 83)
    early = entity_masks(dense)
    for name, *arguments in steps:
        lazy = getattr(lazy, name)(*arguments)
        full = getattr(full, name)(*arguments)
        # Drawn after each step, and resampled from the bits.
        early = getattr(EntityMasks.from_bits(
            early.draw(), early.width, early.ids, early.nodes),
            name)(*arguments)
    assert (lazy.height, lazy.width) == (full.height, full.width)
    assert (lazy.to_ndarray() == full.masks).all()
    assert (early.to_ndarray() == full.masks).all()
    assert lazy.areas.tolist() == full.areas.tolist()
    boxes = HorizontalBoxes.from_instance_masks(full).tensor.tolist()
    assert lazy.get_bboxes('hbox').tensor.tolist() == boxes
    assert early.get_bboxes('hbox').tensor.tolist() == boxes


def test_no_mask_and_one_pixel():
    none = entity_masks(np.zeros((0, 5, 7))).flip().rescale((50, 50))
    assert none.to_ndarray().shape == (0, 36, 50)
    assert none.areas.tolist() == []
    assert len(none.forest) == 0
    pixel = entity_masks(np.ones((1, 1, 1))).resize((3, 2))
    assert pixel.to_ndarray().all()


@pytest.mark.parametrize('index', [
    [3, 1], np.array([3, 1]), slice(3, 0, -2)], ids=str)
def test_indexing_keeps_ids_and_forest(rng, index):
    dense = blobs(rng, 4, 9, 20)
    masks = entity_masks(dense, [-1, 0, 1, 2])
    for drawn in (False, True):
        if drawn:
            masks.draw()
        some = masks[index]
        assert some.ids.tolist() == [3, 1]
        assert some.forest.parents.tolist() == [1, -1]
        assert (some.to_ndarray() == dense[[3, 1]]).all()
    kept = masks[np.array([True, False, False, True])]
    assert kept.forest.parents.tolist() == [-1, 0]
    assert masks[3].ids.tolist() == [3]


def test_cat_keeps_forests_apart(rng):
    dense = blobs(rng, 5, 9, 20)
    first = entity_masks(dense[:3], [-1, 0, 1])[[0, 2]]
    second = entity_masks(dense[3:], [1, -1]).flip().flip()
    both = EntityMasks.cat([first, second])
    assert both.forest.parents.tolist() == [-1, 0, 3, -1]
    assert (both.to_ndarray() == dense[[0, 2, 3, 4]]).all()
    assert copy.deepcopy(both) is both


@pytest.mark.parametrize('call', [
    lambda m: m.rotate((5, 5), 3), lambda m: m.shear((5, 5), 1),
    lambda m: m.resize((5, 5), 'bilinear'), lambda m: m.pad((9, 9), 1)])
def test_what_it_cannot_do_it_says(call):
    with pytest.raises(NotImplementedError, match='to_bitmap'):
        call(entity_masks(np.ones((1, 5, 5))))
