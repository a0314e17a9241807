import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine import ConfigDict
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask

from sohes.models.dense_heads.entity_fusion_head import EntityFusionHead
from tests.test_models.test_dense_heads.tiny_head import boxes_of


def fusion(**test_cfg):
    return EntityFusionHead(test_cfg=ConfigDict(test_cfg))


def sample(ori=(64, 96), img=None, batch=None):
    img = img or ori
    return DetDataSample(
        metainfo=dict(
            ori_shape=ori, img_shape=img, batch_input_shape=batch or img))


def predict(head, masks, classes, ancestors=None, of=None, **kwargs):
    """Predictions for one image.

    Args:
        head: the fusion head.
        masks: (Q, h, w) logits.
        classes: Q logits of 'entity'; that of no-object is 0.
        ancestors: (Q, Q) logits; none is an ancestor by default.
        of: the image's sample.
        kwargs: of ``predict``.
    """
    masks = torch.as_tensor(masks, dtype=torch.float)
    count = len(masks)
    classes = torch.tensor([[value, 0.] for value in classes])
    if ancestors is None:
        ancestors = torch.full((count, count), -9.)
    result, = head.predict(classes[None], masks[None],
                           torch.as_tensor(ancestors)[None],
                           [of or sample()], **kwargs)
    return result


def logits_of(*boxes, size=(64, 96), height=9.):
    return (boxes_of(*boxes, size=size) * 2. - 1) * height


BOXES = [(8, 8, 60, 60), (16, 16, 50, 50), (20, 24, 32, 40)]


def test_masks_scores_boxes_and_order():
    result = predict(fusion(), logits_of(*BOXES, height=2.), [0., 3, -3])
    assert isinstance(result, InstanceData)
    order = [1, 0, 2]
    assert (result.masks.numpy() == boxes_of(*BOXES)[order]).all()
    assert result.bboxes.tolist() == [list(BOXES[index]) for index in order]
    assert result.labels.tolist() == [0, 0, 0]
    sigmoid = torch.tensor([3., 0, -3]).sigmoid()
    assert torch.allclose(result.scores, sigmoid * torch.tensor(2.).sigmoid())
    assert result.parents.tolist() == [-1, -1, -1]


def test_parents_follow_the_order_of_scores():
    ancestors = torch.full((3, 3), -9.)
    ancestors[0, 1] = ancestors[0, 2] = ancestors[1, 2] = 9.
    # The second is empty: what hung from it hangs from the whole.
    result = predict(fusion(), logits_of(*BOXES), [0., 3, -3], ancestors)
    assert result.parents.tolist() == [1, -1, 0]
    empty = logits_of(BOXES[0], (0, 0, 0, 0), BOXES[2])
    result = predict(fusion(), empty, [0., 3, -3], ancestors)
    assert result.parents.tolist() == [-1, 0]


def test_ancestor_threshold_is_a_key():
    ancestors = torch.full((3, 3), -9.)
    ancestors[0, 1] = torch.tensor(0.6).logit()
    classes = [3., 2, 1]
    logits = logits_of(*BOXES)
    for threshold, parents in ((0.5, [-1, 0, -1]), (0.7, [-1, -1, -1])):
        head = fusion(ancestor_thr=threshold)
        assert predict(head, logits, classes,
                       ancestors).parents.tolist() == parents


def test_any_scores_give_a_forest(rng):
    ancestors = torch.from_numpy(rng.normal(size=(40, 40))).float()
    logits = logits_of(*[(0, 0, 40, 40)] * 40)
    parents = predict(fusion(), logits, [1.] * 40, ancestors).parents
    for node in range(40):
        for _ in range(40):
            node = int(parents[node]) if node >= 0 else node
        assert node == -1


def test_how_many_are_kept():
    logits = logits_of(*BOXES)
    classes = [1., 2, 3]
    assert len(predict(fusion(max_per_image=1000), logits, classes)) == 3
    kept = predict(fusion(max_per_image=1), logits, classes)
    assert (kept.masks.numpy() == boxes_of(BOXES[2])).all()
    areas = [52 * 52, 34 * 34, 12 * 16]
    assert len(predict(fusion(min_area=areas[1]), logits, classes)) == 2
    assert len(predict(fusion(min_area=areas[1] + 1), logits, classes)) == 1


def test_duplicates():
    shifted = (9, 8, 60, 60)
    logits = logits_of(BOXES[0], shifted, *BOXES[1:])
    classes = [1., 2, 0, -1]
    assert len(predict(fusion(), logits, classes)) == 4
    kept = predict(fusion(nms_iou_thr=0.9), logits, classes)
    assert (kept.masks.numpy() == boxes_of(shifted, *BOXES[1:])).all()
    assert len(predict(fusion(nms_iou_thr=0.99), logits, classes)) == 4


@pytest.mark.parametrize('mask_format', ['tensor', 'rle'])
def test_no_mask_at_all(mask_format):
    head = fusion(mask_format=mask_format, nms_iou_thr=0.9)
    result = predict(head, np.full((3, 16, 24), -1.), [1., 1, 1],
                     of=sample((97, 131)))
    assert len(result.scores) == len(result.parents) == 0
    assert result.bboxes.shape == (0, 4)
    if mask_format == 'rle':
        assert result.masks == []
    else:
        assert result.masks.shape == (0, 97, 131)


@pytest.mark.parametrize('rescale', [True, False])
@pytest.mark.parametrize('chunk_pixels', [1, 2**24])
def test_padding_goes_and_the_original_size_comes_back(chunk_pixels, rescale):
    """A photo of 97 x 131, trained on at 1.5 times that, padded to 160."""
    wanted = boxes_of((20, 10, 100, 80), (0, 0, 131, 97), (60, 50, 131, 97),
                      size=(97, 131))
    of = sample((97, 131), (146, 197), (160, 224))
    large = torch.nn.functional.interpolate(
        torch.from_numpy(wanted)[None].float() * 2 - 1, (146, 197),
        mode='bilinear')
    # What is predicted in the padding must not matter.
    padded = torch.nn.functional.pad(large, (0, 27, 0, 14), value=1.)
    logits = torch.nn.functional.interpolate(
        padded, (40, 56), mode='bilinear', antialias=True)[0] * 9
    head = fusion(chunk_pixels=chunk_pixels)
    result = predict(head, logits, [3., 2, 1], of=of, rescale=rescale)
    rle = predict(fusion(mask_format='rle', chunk_pixels=chunk_pixels),
                  logits, [3., 2, 1], of=of, rescale=rescale)
    if not rescale:
        wanted = (large[0] > 0).numpy()
    assert result.masks.shape == wanted.shape
    found = result.masks.numpy()
    assert (coco_mask.decode(rle.masks).transpose(2, 0, 1) == found).all()
    shared = (found & wanted).sum((1, 2))
    assert (shared / (found | wanted).sum((1, 2)) >= 0.95).all()


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="'polygon'"):
        fusion(mask_format='polygon')
    with pytest.raises(ValueError, match='panoptic_on'):
        fusion(panoptic_on=True)
