"""The sampled CRF: what it computes, and what it makes of masks."""
import numpy as np
import pytest

from sohes.pseudo_labels.best_first import CropRefiner, Refined
from sohes.pseudo_labels.local_crf import (
    LocalCRFRefiner,
    sample_offsets,
    small_disk,
)
from sohes.pseudo_labels.local_crf_kernels import (
    Links,
    likeness,
    likeness_table,
    mean_field,
)
from sohes.pseudo_labels.options import ExploreOptions
from sohes.pseudo_labels.proposals import Proposal
from sohes.pseudo_labels.refinement import DenseCRFRefiner, build_refiner
from sohes.pseudo_labels.window import mask_iou
from tests.test_pseudo_labels.test_refinement import _disk, _paint, _patches


def _full(refined: Refined, size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size, bool)
    left, top = refined.corner
    height, width = refined.mask.shape
    mask[top:top + height, left:left + width] = refined.mask
    assert 0 <= top <= size[0] - height and 0 <= left <= size[1] - width
    return mask


def _one(refiner: LocalCRFRefiner, image: np.ndarray,
         item: Proposal) -> tuple[np.ndarray, float]:
    refined, = refiner.refine_crop(image, item.box, [item])
    return _full(refined, image.shape[:2]), refined.iou


def _plain_mean_field(pixels, logits, window, far, table, appearance, near,
                      near_weights, iterations) -> np.ndarray:
    """The equations, pixel by pixel in float64."""
    height, width, _ = pixels.shape
    left, top, right, bottom = window

    def within(y, x):
        return 0 <= y < height and 0 <= x < width

    def kernel(y, x, dy, dx):
        if not within(y + dy, x + dx):
            return 0.0
        squared = ((pixels[y, x].astype(int) - pixels[y + dy, x + dx])**2)
        return float(table[min(squared.sum(), len(table) - 1)])
    norm = np.array([[1 / np.sqrt(1 + sum(kernel(y, x, *o) for o in far))
                      for x in range(width)] for y in range(height)])
    total = logits.astype(np.float64)
    for _ in range(iterations):
        half = total / 2
        value = np.clip(half * (27 + half**2) / (27 + 9 * half**2), -1, 1)
        q = np.full((height, width), -1.0)
        q[top:bottom, left:right] = value
        total = logits.astype(np.float64)
        for y in range(top, bottom):
            for x in range(left, right):
                for dy, dx in far:
                    if within(y + dy, x + dx):
                        total[y - top, x - left] += (
                            appearance * kernel(y, x, dy, dx) * norm[y, x] *
                            norm[y + dy, x + dx] * q[y + dy, x + dx])
                for (dy, dx), weight in zip(near, near_weights):
                    inside = within(y + dy, x + dx)
                    total[y - top, x - left] += weight * (
                        q[y + dy, x + dx] if inside else -1)
    return total


@pytest.fixture
def problem(rng) -> dict:
    """Sixteen colours that lie close, a window that does not fill them."""
    near, near_weights = small_disk(1.2)
    window = (2, 1, 9, 8)
    return dict(
        pixels=rng.integers(0, 16, (9, 11, 3), np.uint8),
        logits=rng.normal(0, 2, (7, 7)).astype(np.float32), window=window,
        far=sample_offsets(2.5, 12), table=likeness_table(6.0),
        appearance=4.0, near=near, near_weights=near_weights, iterations=4)


def _compiled(pixels, logits, window, far, table, appearance, near,
              near_weights, iterations) -> np.ndarray:
    alike, norm = likeness(pixels, far, table)
    return mean_field(logits, window[1::-1], alike, norm, Links(
        far, appearance, near, near_weights, iterations))


def _torch(pixels, logits, window, table, **links) -> np.ndarray:
    from sohes.pseudo_labels.local_crf_torch import mean_fields
    return mean_fields(pixels, [window], [logits], table, Links(**links),
                       'cpu')[0]


@pytest.mark.parametrize('compute', [_compiled, _torch])
def test_it_is_the_mean_field_of_the_equations(problem, compute):
    expected = _plain_mean_field(**problem)
    assert np.abs(expected).max() > 3
    np.testing.assert_allclose(compute(**problem), expected, atol=1e-3)


def test_offsets_come_in_pairs():
    offsets = sample_offsets(8, 96)
    assert 80 <= len(offsets) <= 96 and (offsets != 0).any(1).all()
    np.testing.assert_array_equal(offsets[::-1], -offsets)
    assert len(np.unique(offsets, axis=0)) == len(offsets)
    # as many on each side, as far as a Gaussian's
    assert np.sqrt((offsets**2).mean()) == pytest.approx(8, rel=0.2)
    assert len(sample_offsets(0.2, 96)) < 9


@pytest.mark.parametrize('max_side, good', [(512, 0.95), (60, 0.92)])
@pytest.mark.parametrize('shift', [(0, 0), (4, -3)])
def test_moves_a_mask_onto_the_edge(rng, shift, max_side, good):
    """Patches of 8 pixels round the outline, and the whole is off, too."""
    truth = _disk((128, 128), (60, 66), 33)
    item = _patches(np.roll(truth, shift, (0, 1)), 8)
    before = mask_iou(item.render((128, 128)), truth)
    mask, iou = _one(LocalCRFRefiner(max_side=max_side), _paint(truth, rng),
                     item)
    assert before < 0.92 and mask_iou(mask, truth) > good
    assert 0.7 < iou < 1


def test_reports_the_change_it_made(rng):
    truth = _disk((96, 96), (48, 48), 25)
    item = _patches(truth, 8)
    mask, iou = _one(LocalCRFRefiner(), _paint(truth, rng), item)
    assert iou == pytest.approx(mask_iou(item.render((96, 96)), mask))


def test_stays_in_its_window(rng):
    """Red everywhere: what lies far from the mask is not looked at."""
    near = _disk((200, 200), (50, 50), 30)
    truth = near | _disk((200, 200), (150, 150), 30)
    mask, _ = _one(LocalCRFRefiner(), _paint(truth, rng), _patches(near, 8))
    assert mask_iou(mask, near) > 0.93 and not mask[110:, 110:].any()


@pytest.mark.parametrize('device', [None, 'cpu'])
def test_a_mask_comes_out_the_same_in_any_company(rng, device):
    truth = _disk((120, 150), (50, 70), 30)
    image = _paint(truth, rng)
    box = (10, 5, 140, 115)
    items = []
    for _ in range(9):
        grid = np.zeros((11, 13), bool)
        top, left = rng.integers(0, 8, 2)
        grid[top:top + rng.integers(1, 9), left:left + rng.integers(1, 9)] = 1
        items.append(Proposal(grid, box, 0.5, 2))
    refiner = LocalCRFRefiner(max_side=64, device=device)
    assert isinstance(refiner, CropRefiner)
    together = refiner.refine_crop(image, box, items)
    for item, one in zip(items, together):
        alone, = refiner.refine_crop(image, box, [item])
        np.testing.assert_array_equal(one.mask, alone.mask)
        assert (one.corner, one.iou) == (alone.corner, alone.iou)


def test_torch_gives_the_same_masks(rng):
    truth = _disk((128, 128), (60, 66), 33)
    image, item = _paint(truth, rng), _patches(truth, 8)
    here, here_iou = _one(LocalCRFRefiner(), image, item)
    there, there_iou = _one(LocalCRFRefiner(device='cpu'), image, item)
    assert np.count_nonzero(here != there) <= 0.001 * here.sum()
    assert there_iou == pytest.approx(here_iou, abs=0.001)


@pytest.mark.parametrize('size', [(1, 1), (1, 40), (40, 1), (3, 2),
                                  (5, 1200)])
def test_every_size(rng, size):
    image = rng.integers(0, 256, (*size, 3), np.uint8)
    image.flags.writeable = False
    item = Proposal(np.ones((4, 4), bool), (0, 0, size[1], size[0]), 0.5, 1)
    mask, iou = _one(LocalCRFRefiner(), image, item)
    assert mask.shape == size and iou > 0.5


def test_it_is_built_by_name_and_starts_from_membership():
    refiner = build_refiner(dict(type='localcrf', neighbours=24))
    assert isinstance(refiner, LocalCRFRefiner) and refiner.neighbours == 24
    options = ExploreOptions(refiner=dict(type='localcrf'))
    assert options.membership == options.sharpness


def test_it_agrees_with_densecrf_on_a_real_photo(shared_data, real_features):
    from sohes.pseudo_labels.images import load_image
    from sohes.pseudo_labels.pipeline import propose
    photo = sorted((shared_data / 'bsds500/images/val').glob('*.jpg'))[0]
    image = load_image(photo)
    options = ExploreOptions(local=None, refiner=dict(type='localcrf'),
                             thresholds=[k / 20 for k in range(18, 0, -1)])
    items = propose(image, lambda images, size: [real_features],
                    options).items[:60]
    dense = DenseCRFRefiner(max_side=256, smooth=(1, 0.33))
    ours = LocalCRFRefiner().refine_crop(image, items[0].box, items)
    agreement, change = [], []
    for item, one in zip(items, ours):
        mask, iou = dense(image, item)
        change.append((iou, one.iou))
        if min(change[-1]) >= 0.5:
            agreement.append(mask_iou(mask, _full(one, image.shape[:2])))
    assert len(agreement) > 20 and np.mean(agreement) > 0.85
    assert np.corrcoef(np.transpose(change))[0, 1] > 0.9
