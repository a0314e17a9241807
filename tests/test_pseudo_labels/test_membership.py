"""Patches at a region's border: how surely they are inside."""
import numpy as np
import pytest

from sohes.pseudo_labels.membership import add_membership, patch_membership
from sohes.pseudo_labels.pipeline import ExploreOptions, propose
from sohes.pseudo_labels.proposals import Proposal
from sohes.pseudo_labels.refinement import DenseCRFRefiner
from sohes.pseudo_labels.window import Window, mask_iou

LEFT, RIGHT = np.array([1., 0]), np.array([0., 1])


def _mix(share: float) -> np.ndarray:
    """The unit feature of a patch of which a share is left."""
    feature = share * LEFT + (1 - share) * RIGHT
    return feature / np.linalg.norm(feature)


def _row(shares) -> np.ndarray:
    return np.array([[_mix(s) for s in shares]], np.float32)


def test_a_patch_is_as_sure_as_its_feature():
    """One row, the border between patches 3 and 4; patch 4 is half left."""
    features = _row([1, 1, 1, 1, 0.5, 0, 0, 0, 0])
    grid = np.array([[1, 1, 1, 1, 0, 0, 0, 0, 0]], bool)
    got = patch_membership(features, grid, sharpness=10) / 255
    inside, around = LEFT, _mix(0.5) + RIGHT
    around = around / np.linalg.norm(around)
    margin = features[0] @ (inside - around)
    sure = 1 / (1 + np.exp(-10 * margin))
    # 0, 1: two patches or more from the border; 5 on: beyond one patch
    expected = [1, 1, sure[2], sure[3], sure[4], 0, 0, 0, 0]
    np.testing.assert_allclose(got[0], expected, atol=0.5 / 255)
    assert 0.05 < got[0, 4] < 0.95


def test_a_patch_on_the_wrong_side_is_doubted():
    """The region was given a patch that looks like its surroundings."""
    features = _row([1, 1, 1, 1, 0, 0, 0, 0])
    grid = np.array([[1, 1, 1, 1, 1, 0, 0, 0]], bool)
    sure = patch_membership(features, grid)[0] / 255
    assert sure[3] > 0.9 and sure[4] < 0.1


def test_the_image_border_is_no_border_of_the_region():
    features = np.zeros((5, 5, 2), np.float32)
    features[:, :3], features[:, 3:] = LEFT, RIGHT
    grid = np.zeros((5, 5), bool)
    grid[:, :3] = True
    sure = patch_membership(features, grid)
    np.testing.assert_array_equal(sure[:, 0], 255)
    np.testing.assert_array_equal(sure[:, 4], 0)


def test_nothing_around_means_nothing_to_doubt():
    grid = np.ones((2, 3), bool)
    features = np.zeros((2, 3, 4), np.float32)
    np.testing.assert_array_equal(patch_membership(features, grid), 255)


def test_features_of_zero_are_undecided():
    grid = np.array([[1, 0, 0]], bool)
    sure = patch_membership(np.zeros((1, 3, 2), np.float32), grid)
    assert sure.tolist() == [[128, 128, 0]]


def test_length_of_features_does_not_matter(rng):
    features = rng.normal(size=(6, 7, 5)).astype(np.float32)
    grid = np.zeros((6, 7), bool)
    grid[1:4, 2:5] = True
    item = Proposal(grid, (0, 0, 7, 6), 0.5, 1)
    longer = features * rng.uniform(1, 9, (6, 7, 1)).astype(np.float32)
    one, other = (add_membership([item], f, 10)[0].membership
                  for f in (features, longer))
    np.testing.assert_allclose(one.astype(int), other.astype(int), atol=1)
    assert one.dtype == np.uint8 and 0 < one[2, 3] < 255
    assert add_membership([item], features, None) == [item]


def test_refinement_starts_from_it():
    """On a flat image only the membership can move the border."""
    grid = np.zeros((4, 8), bool)
    grid[:, :4] = True
    image = np.full((32, 64, 3), 90, np.uint8)
    membership = np.where(grid, 255, 0).astype(np.uint8)
    membership[:, 4] = 204  # most of the next column belongs to it
    item = Proposal(grid, (0, 0, 64, 32), 0.5, 1)
    surer = Proposal(grid, (0, 0, 64, 32), 0.5, 1, membership)
    window = Window.around(surer, (32, 64), 0.5, 4)
    np.testing.assert_array_equal(window.soft(surer), window.soft(item))
    np.testing.assert_array_equal(window.likely(item), window.soft(item))
    # pixel 35 is 1/16 of a patch left of the middle of column 4
    assert window.likely(surer)[16, 35] == pytest.approx(
        0.8 * 15 / 16 + 1 / 16)
    refine = DenseCRFRefiner()
    (before, _), (after, iou) = refine(image, item), refine(image, surer)
    assert before.sum() / 32 == pytest.approx(32, abs=1)
    assert after.sum() / 32 > 37
    assert iou == pytest.approx(mask_iou(item.render((32, 64)), after))


@pytest.mark.parametrize('refiner, sharpness, wanted', [
    (dict(type='densecrf'), 10, True), (dict(type='densecrf'), None, False),
    (None, 10, False), (dict(type='cascadepsp'), 10, False)])
def test_only_who_looks_at_it_pays_for_it(rng, refiner, sharpness, wanted):
    image = rng.integers(0, 256, (32, 32, 3), np.uint8)
    image[:, :16] = 0
    options = ExploreOptions(image_size=8, refiner=refiner,
                             sharpness=sharpness, local=None,
                             thresholds=(0.5, ))

    def features(images, size):
        grid = np.zeros((len(images), 8, 8, 2), np.float32)
        grid[:, :, :4, 0], grid[:, :, 4:, 1] = 1, 1
        return grid

    items = propose(image, features, options).items
    assert items
    assert all((item.membership is not None) == wanted for item in items)
