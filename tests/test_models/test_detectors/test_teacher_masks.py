"""Equation 3, and masks from one view of an image to another."""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmdet.structures.mask import mask2bbox
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from sohes.models.detectors.self_correction import SelfCorrection
from sohes.models.detectors.teacher_masks import (
    between_views,
    count_by_size,
    cut_off,
    dynamic_threshold,
    project_masks,
)
from sohes.structures import EntityForest
from sohes.structures.bit_masks import BitMasks

ROOT = Path(__file__).resolve().parents[3]


def test_threshold_at_both_ends_and_by_hand():
    share = torch.tensor([0., 0.001, 0.01, 1.])
    found = dynamic_threshold(share)
    expected = [0.3, 0.3 + 0.4 * (1 - 0.999**200),
                0.3 + 0.4 * (1 - 0.99**200), 0.7]
    torch.testing.assert_close(found, torch.tensor(expected))
    assert found[0] == torch.tensor(0.3) and found[3] == torch.tensor(0.7)


def test_threshold_at_the_limits_of_gamma():
    share = torch.tensor([0., 0.25, 0.5, 1.])
    line = dynamic_threshold(share, gamma=1, low=0., high=1.)
    torch.testing.assert_close(line, share)
    step = dynamic_threshold(share, gamma=1e9)
    torch.testing.assert_close(step, torch.tensor([0.3, 0.7, 0.7, 0.7]))


def test_threshold_rises_with_the_area_and_with_gamma():
    share = torch.linspace(0, 0.01, 500)
    by_gamma = torch.stack(
        [dynamic_threshold(share, gamma) for gamma in (2, 20, 200, 2000)])
    assert (by_gamma.diff(dim=1) >= 0).all()
    assert (by_gamma[:3].diff(dim=1) > 0).all()
    assert (by_gamma[:, 1:].diff(dim=0) > 0).all()
    assert by_gamma.min() >= 0.3 and by_gamma.max() <= 0.7
    # A single pixel of a large image is still told from none.
    assert dynamic_threshold(torch.tensor(2.**-22)) > 0.3


@pytest.mark.parametrize('options, message', [
    (dict(gamma=0.5), 'gamma must be 1 or more, got 0.5'),
    (dict(low=0.8), 'low 0.8 and high 0.7'),
    (dict(high=1.1), 'low 0.3 and high 1.1'),
])
def test_threshold_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        dynamic_threshold(torch.zeros(1), **options)


def test_sizes_are_cocos():
    areas = torch.tensor([1, 1023, 1024, 9215, 9216, 10**6])
    assert count_by_size(areas).tolist() == [2, 2, 2]
    assert count_by_size(areas[:0]).tolist() == [0, 0, 0]


def test_projection_pixel_by_pixel():
    mask = torch.tensor([[[1, 0, 0, 0], [1, 1, 0, 0]]]).bool()
    same = np.eye(3)
    flip = np.array([[-1, 0, 4], [0, 1, 0], [0, 0, 1.]])
    double = np.diag([2., 2, 1])
    crop = np.array([[1, 0, -1], [0, 1, -1], [0, 0, 1.]])
    assert torch.equal(project_masks(mask, same, (2, 4)), mask)
    assert torch.equal(project_masks(mask, flip, (2, 4)), mask.flip(2))
    large = project_masks(mask, double, (4, 8))
    assert torch.equal(
        large, mask.repeat_interleave(2, 1).repeat_interleave(2, 2))
    assert torch.equal(project_masks(large, np.linalg.inv(double), (2, 4)),
                       mask)
    # What lies beyond the source is outside every mask.
    assert project_masks(mask, crop, (2, 3)).int().tolist() == [[[1, 0, 0],
                                                                 [0, 0, 0]]]
    assert project_masks(mask[:0], flip, (2, 4)).shape == (0, 2, 4)


@pytest.mark.parametrize('flip', [False, True])
def test_the_side_of_a_view_cuts_where_the_other_view_goes_on(flip):
    # The upper right quarter of a photo of 8 x 8, enlarged twice.
    source = np.array([[2, 0, -8], [0, 2, 0], [0, 0, 1.]])
    masks = torch.zeros(5, 8, 8, dtype=torch.bool)
    masks[0, 3, 3] = True  # inside
    masks[1, :5, 3:] = True  # at the sides of the photo
    masks[2, 2, 0] = True  # left
    masks[3, 7, 5] = True  # below
    if flip:
        source = np.array([[-1, 0, 8], [0, 1, 0], [0, 0, 1.]]) @ source
        masks = masks.flip(2)
    whole = np.eye(3)
    found = cut_off(masks, source, whole, (8, 8), (8, 8))
    assert found.tolist() == [False, False, True, True, False]
    # A canvas larger than the photo shows no more of it.
    found = cut_off(masks, source, whole, (16, 16), (8, 8))
    assert found.tolist() == [False, False, True, True, False]
    # The right half: what the left side cuts goes on nowhere in it.
    right = np.array([[1, 0, -4], [0, 1, 0], [0, 0, 1.]])
    found = cut_off(masks, source, right, (8, 4), (8, 8))
    assert found.tolist() == [False, False, False, True, False]
    assert not cut_off(masks, source, source, (8, 8), (8, 8)).any()
    assert cut_off(masks[:0], source, whole, (8, 8), (8, 8)).shape == (0, )


def drawn(height: int, width: int) -> tuple[np.ndarray, list[int]]:
    """A disc in a box in a box, and an L apart; their parents."""
    y, x = np.mgrid[:height, :width]
    return np.stack([
        (x >= 40) & (x < 400) & (y >= 30) & (y < 420),
        (x >= 61) & (x < 333) & (y >= 71) & (y < 311),
        (x - 200)**2 + (y - 190)**2 < 90**2,
        (x >= 431) & (x < 610) & (y >= 101) & ((x < 520) | (y > 290)),
    ]), [-1, 0, 1, -1]


def views(weak_flip: float, strong_flip: float, scale: float, seed: int):
    """Weak and strong view by the configuration's own transforms.

    The hand-drawn masks are painted as the channels of the image, so that
    the views show where they really are.

    Returns:
        For each view the sample and its (4, H, W) bool masks.
    """
    init_default_scope('mmdet')
    config = Config.fromfile(ROOT / 'configs/sohes_phase3.py')
    np.random.seed(seed)
    branches = config.train_dataloader.dataset.unlabeled.pipeline[1]
    weak, student = branches.unsup_teacher, branches.unsup_student
    strong = [*student[:3], student[-1]]  # without its colours
    weak[0].scale = strong[1].scale = (512, 512)
    strong[2].crop_size = (400, 400)
    strong[1].ratio_range = (scale, scale)
    weak[1].prob, strong[0].prob = weak_flip, strong_flip
    image = drawn(480, 640)[0].transpose(1, 2, 0).astype(np.uint8) * 255
    for pipeline in (weak, strong):
        packed = Compose(pipeline)(dict(
            img=image, img_shape=(480, 640), ori_shape=(480, 640), img_id=1,
            img_path='1.jpg'))
        yield packed['data_samples'], packed['inputs'] > 127


@pytest.mark.parametrize('scale', [0.6, 1.0, 1.7])
@pytest.mark.parametrize('weak_flip', [0., 1.])
@pytest.mark.parametrize('strong_flip', [0., 1.])
@pytest.mark.parametrize('seed', [0, 1])
def test_the_teachers_masks_land_on_the_students_pixels(
        scale, weak_flip, strong_flip, seed):
    (weak, seen), (strong, shown) = views(weak_flip, strong_flip, scale, seed)
    assert seen.shape[1:] == (384, 512)
    weak.gt_instances = InstanceData(
        masks=seen, forest=EntityForest(drawn(480, 640)[1]))
    model = SelfCorrection.__new__(SelfCorrection)
    torch.nn.Module.__init__(model)
    model.min_area, model.pseudo_label_head = 1, torch.nn.Identity()
    found = model.project_pseudo_instances([weak], [strong])[0].gt_instances
    expected = shown.any(2).any(1)
    assert len(found) == expected.sum() >= 2
    masks, truth = found.masks.dense(), shown[expected]
    share = ((masks & truth).sum((1, 2)) / (masks | truth).sum((1, 2)))
    large = truth.sum((1, 2)) >= 64**2
    assert large.sum() >= 2
    assert share[large].min() >= 0.98, share
    forest = EntityForest(drawn(480, 640)[1]).subset(expected.numpy())
    assert np.array_equal(found.ancestors, forest.ancestors)
    assert found.ancestors.dtype == torch.bool
    assert found.labels.tolist() == [0] * len(found)
    assert torch.equal(found.bboxes, mask2bbox(masks))
    assert isinstance(found.masks, BitMasks)
    assert (found.masks.height, found.masks.width) == strong.img_shape


def test_homographies_chain():
    to_a, to_b = np.diag([2., 2, 1]), np.diag([3., 3, 1])
    np.testing.assert_allclose(between_views(to_a, to_b),
                               np.diag([1.5, 1.5, 1]))
