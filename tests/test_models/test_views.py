"""Inference in views: parts of a photo, enlarged, and what is made of them."""
import numpy as np
import pytest
import torch
from mmengine import ConfigDict

from sohes.models.backbones.feature_maps import view_of_map
from sohes.models.dense_heads.entity_fusion_head import EntityFusionHead
from sohes.models.dense_heads.view_fusion import fuse_views
from sohes.models.views import (
    crop_views,
    cut_by_view,
    mask_areas,
    paste,
    view_boxes,
)
from sohes.pseudo_labels.best_first import Refined
from tests.test_models.test_dense_heads.tiny_head import boxes_of

SIDE = 56  # of a view's masks
SIZE = (112, 112)  # of the photo
WHOLE = (0., 0., 1., 1.)
FIRST = (0., 0., .5, .5)  # the quarter at the top left
LAST = (.5, .5, 1., 1.)


def fusion(**test_cfg):
    return EntityFusionHead(
        test_cfg=ConfigDict(dict(mask_format='tensor', **test_cfg)))


def logits(*boxes):
    return (boxes_of(*boxes, size=(SIDE, SIDE)) * 2. - 1) * 9


def fused(views, boxes, head=None, sure=None, ancestors=None):
    """What becomes of V views of Q masks each."""
    masks = torch.stack([torch.as_tensor(each).float() for each in views])
    count = masks.shape[1]
    classes = torch.zeros(len(boxes), count, 2)
    classes[..., 0] = torch.as_tensor(
        sure if sure is not None else 3.).reshape(-1, 1)
    if ancestors is None:
        ancestors = torch.full((len(boxes), count, count), -9.)
    return fuse_views(head or fusion(nms_iou_thr=0.7), classes, masks,
                      ancestors, boxes, SIZE)


def test_the_views_cover_the_photo_and_overlap_by_half():
    assert view_boxes([1]) == [WHOLE]
    boxes = view_boxes([1, 2, 3])
    assert len(boxes) == 1 + 9 + 25
    # A square of half a view is whole in one of the views of each zoom.
    for zoom in (2, 3):
        views = view_boxes([zoom])
        side = 0.5 / zoom
        for x, y in np.random.default_rng(0).uniform(0, 1 - side, (50, 2)):
            assert any(left <= x and top <= y and x + side <= right + 1e-9
                       and y + side <= bottom + 1e-9
                       for left, top, right, bottom in views), (zoom, x, y)


@pytest.mark.parametrize('zooms', [[], [0.5], [1, 0]])
def test_zooms_that_show_nothing_are_refused(zooms):
    with pytest.raises(ValueError, match='zooms must be numbers'):
        fusion(zooms=zooms, view_size=448)
    with pytest.raises(ValueError, match='needs view_size'):
        fusion(zooms=[1, 2])


def test_a_crop_and_its_paste_are_inverse():
    photo = torch.zeros(3, 100, 160)
    photo[:, 30:40, 90:120] = 1
    for box in view_boxes([1, 2, 3]):
        view, = crop_views(photo, [box], 224)
        assert view.shape == (3, 224, 224)
        if cut_by_view(view[:1] > 0.5, box).any() or view.max() < 0.5:
            continue
        back = paste(view[:1] - 0.5, box, (100, 160))[0]
        truth = photo[0] > 0.5
        assert (back & truth).sum() / (back | truth).sum() > 0.9, box


def test_a_view_of_the_whole_is_what_the_head_says_without_views():
    masks = logits((8, 8, 40, 40), (20, 20, 30, 50))
    found = fused([masks], [WHOLE])
    expected = paste(torch.as_tensor(masks).float(), WHOLE, SIZE)
    assert torch.equal(found.masks, expected)
    assert found.bboxes.tolist() == [[16, 16, 80, 80], [40, 40, 60, 100]]
    assert found.labels.tolist() == [0, 0] and found.parents.tolist() == [
        -1, -1]


def test_a_mask_of_a_view_lies_where_the_view_lies():
    found = fused([logits((10, 20, 30, 40))], [LAST])
    assert found.bboxes.tolist() == [[66, 76, 86, 96]]


def test_masks_cut_inside_the_photo_are_left_to_other_views():
    # Both touch sides of their view; of the first it is the photo's own.
    found = fused([logits((0, 0, 20, 20)), logits((0, 10, 20, 30))],
                  [FIRST, LAST])
    assert found.bboxes.tolist() == [[0, 0, 20, 20]]


def test_of_one_entity_in_two_views_the_better_stays():
    whole, near = logits((5, 5, 15, 15)), logits((10, 10, 30, 30))
    for sure in ([1., 3.], [3., 1.]):
        found = fused([whole, near], [WHOLE, FIRST], sure=sure)
        assert len(found.scores) == 1
        assert float(found.scores[0]) == pytest.approx(
            float(torch.tensor(3.).sigmoid()), abs=1e-3)
    both = fused([whole, near], [WHOLE, FIRST], fusion())
    assert len(both.scores) == 2
    few = fused([logits((5, 5, 15, 15), (20, 20, 40, 40))], [WHOLE],
                fusion(max_per_image=1))
    assert len(few.scores) == 1


def test_for_recall_another_entity_stays_before_a_twin():
    masks = logits((4, 4, 24, 24), (4, 4, 24, 23), (40, 40, 50, 50))
    boxes = {}
    for choose in ('surest', 'recall'):
        head = fusion(zooms=[1], view_size=SIDE, choose=choose,
                      max_per_image=2)
        found = fuse_views(
            head, torch.tensor([[[3., 0], [2., 0], [-1, 0]]]),
            torch.as_tensor(masks).float()[None],
            torch.full((1, 3, 3), -9.), [WHOLE], SIZE)
        boxes[choose] = found.bboxes.tolist()
        assert (found.scores.diff() <= 0).all()
    twin, other = [8, 8, 48, 46], [80, 80, 100, 100]
    assert boxes['surest'][1] in (twin, [8, 8, 46, 48])
    assert boxes['recall'][1] == other
    assert boxes['recall'][0] == boxes['surest'][0]


def test_ways_to_choose_that_are_refused():
    with pytest.raises(ValueError, match="must be 'surest' or 'recall'"):
        fusion(choose='best')
    with pytest.raises(ValueError, match="choose='recall' .* needs zooms"):
        fusion(choose='recall')


def test_relations_are_the_heads_in_a_view_and_of_coverage_between():
    whole = logits((4, 4, 50, 50), (30, 30, 40, 40))
    near = logits((20, 20, 36, 36), (30, 4, 40, 10))
    ancestors = torch.full((2, 2, 2), -9.)
    ancestors[1, 1, 0] = 9.  # whatever the masks are
    head = fusion(nms_iou_thr=0.7, with_ancestors=True)
    found = fused([whole, near], [WHOLE, FIRST], head, [3., 1.], ancestors)
    boxes = found.bboxes.tolist()
    large, inner = boxes.index([8, 8, 100, 100]), boxes.index([60, 60, 80, 80])
    part, owner = (boxes.index([20, 20, 36, 36]),
                   boxes.index([30, 4, 40, 10]))
    # The head says nothing of the whole's two, though one covers the other.
    assert np.argwhere(found.ancestors.numpy()).tolist() == sorted(
        [[large, part], [owner, part]])
    # Without a head's word coverage decides everywhere.
    found = fused([whole, near], [WHOLE, FIRST], head, [3., 1.],
                  torch.zeros(2, 2, 0))
    assert np.argwhere(found.ancestors.numpy()).tolist() == sorted(
        [[large, inner], [large, part]])


def test_the_map_of_a_view_is_that_part_of_the_photos_map(monkeypatch):
    from sohes.models.backbones import FrozenViT
    vit = FrozenViT('unused', vit_size=84, cells=4)
    tokens = torch.randn(1, 8, 12, 12)
    monkeypatch.setattr(vit, 'tokens', lambda images, side: tokens)
    image = torch.zeros(3, 60, 90)
    whole, last = vit.maps_of_views(image, [WHOLE, LAST])
    assert torch.allclose(
        whole, view_of_map(tokens[0], np.eye(3), (60, 90), (60, 90), 4))
    # A crop of the photo by the datasets' own way of saying it.
    crop = np.array([[2., 0, -90], [0, 2, -60], [0, 0, 1]])
    assert torch.allclose(
        last, view_of_map(tokens[0], crop, (60, 90), (60, 90), 4), atol=1e-5)


def test_no_mask_at_all():
    found = fused([np.full((2, SIDE, SIDE), -9.)], [WHOLE])
    assert len(found.scores) == 0 and found.masks.shape == (0, *SIZE)
    assert found.bboxes.shape == (0, 4)


@pytest.mark.parametrize('box', [WHOLE, FIRST])
def test_a_refined_mask_follows_the_pixels(box):
    """Step 3 moves a mask that is a cell off to where the colour ends."""
    photo = np.full((*SIZE, 3), 40, np.uint8)
    photo[20:44, 12:40] = 220
    truth = photo[..., 0] > 100
    step = SIDE // 2 if box == WHOLE else SIDE
    scale = SIZE[0] / 2 / step
    left, top, right, bottom = (
        int(round(each / scale)) + off
        for each, off in zip((12, 20, 40, 44), (1, -1, 1, -1)))
    masks = torch.as_tensor(logits((left, top, right, bottom))).float()[None]
    options = dict(refiner=dict(type='localcrf'), refiner_cells=SIDE // 2,
                   zooms=[1], view_size=SIDE)
    overlap = {}
    for name, more in (('before', {}), ('after', options)):
        found, = fuse_views(
            fusion(**more), torch.tensor([[[3., 0]]]), masks,
            torch.full((1, 1, 1), -9.), [box], SIZE, photo).masks.numpy()
        overlap[name] = (found & truth).sum() / (found | truth).sum()
    assert overlap['before'] < 0.95 < overlap['after']


def test_refiners_that_are_refused():
    with pytest.raises(ValueError, match='needs zooms'):
        fusion(refiner=dict(type='localcrf'))
    for kind in ('os.system', 'densecrf', None):
        with pytest.raises(ValueError, match='type must be one of localcrf'):
            fusion(refiner=dict(type=kind), zooms=[1], view_size=448)
    with pytest.raises(ValueError, match='refiner localcrf'):
        fusion(refiner=dict(type='localcrf', rounds=3), zooms=[1],
               view_size=448)


def test_a_mask_that_the_refiner_empties_stays_as_it_was():
    masks = torch.as_tensor(logits((10, 10, 20, 20), (30, 30, 44, 44)))
    head = fusion(refiner=dict(type='localcrf'), zooms=[1], view_size=SIDE)

    class Emptying:
        def refine_crop(self, image, box, items):
            return [Refined(np.zeros((4, 4), bool), (0, 0), 0.),
                    Refined(np.ones((4, 4), bool), (2, 6), 1.)]

    head.refiner = Emptying()
    found = fuse_views(
        head, torch.tensor([[[3., 0], [1, 0]]]), masks.float()[None],
        torch.full((1, 2, 2), -9.), [WHOLE], SIZE,
        np.zeros((*SIZE, 3), np.uint8))
    assert found.bboxes.tolist() == [[20, 20, 40, 40], [2, 6, 6, 10]]


def test_areas_are_those_of_torch():
    masks = torch.rand(40, 17, 23) > torch.linspace(0, 1.1, 40)[:, None, None]
    assert not masks[-1].any()
    assert mask_areas(masks).tolist() == masks.sum((1, 2)).tolist()
