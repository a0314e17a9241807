"""Step 3: masks move onto edges, and only near them."""
import numpy as np
import pytest

from sohes.pseudo_labels.proposals import Proposal
from sohes.pseudo_labels.refinement import (
    DenseCRFRefiner,
    NoRefiner,
    build_refiner,
)
from sohes.pseudo_labels.window import Window, mask_iou

RED, BLUE = (200, 40, 40), (40, 40, 200)


def _disk(size: tuple[int, int], center: tuple[float, float],
          radius: float) -> np.ndarray:
    y, x = np.mgrid[:size[0], :size[1]]
    return (y - center[0])**2 + (x - center[1])**2 < radius**2


def _paint(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    image = np.where(mask[..., None], RED, BLUE)
    noise = rng.integers(-3, 4, image.shape)
    return (image + noise).astype(np.uint8)


def _patches(mask: np.ndarray, patch: int) -> Proposal:
    """The mask as patches see it: those that are half inside or more."""
    height, width = mask.shape
    share = mask.reshape(height // patch, patch, width // patch,
                         patch).mean((1, 3))
    return Proposal(share >= 0.5, (0, 0, width, height), 0.5, 1)


@pytest.mark.parametrize('a, b, expected', [
    ([1, 1, 0], [0, 1, 1], 1 / 3), ([1, 0], [0, 1], 0), ([1, 1], [1, 1], 1),
    ([0, 0], [0, 0], 0)])
def test_mask_iou(a, b, expected):
    assert mask_iou(np.array([a], bool), np.array([b], bool)) == expected


def test_no_refiner_leaves_the_mask_alone(rng):
    item = Proposal(rng.random((4, 6)) > 0.5, (0, 0, 50, 30), 0.5, 1)
    mask, iou = NoRefiner()(rng.integers(0, 256, (30, 50, 3), np.uint8), item)
    np.testing.assert_array_equal(mask, item.render((30, 50)))
    assert iou == 1.0


def test_window_and_back(rng):
    image = rng.integers(0, 256, (40, 60, 3), np.uint8)
    grid = np.zeros((4, 6), bool)
    grid[1:3, 2:4] = True  # rows 10..30, columns 20..40
    item = Proposal(grid, (0, 0, 60, 40), 0.5, 1)
    window = Window.around(item, (40, 60), margin=0.25, min_margin=2)
    assert window.box == (15, 5, 45, 35) and window.shape == (30, 30)
    np.testing.assert_array_equal(window.cut(image), image[5:35, 15:45])
    np.testing.assert_array_equal(
        window.paste(window.soft(item) > 0.5), item.render((40, 60)))
    assert Window.around(item, (40, 60), 0, 7).box == (13, 3, 47, 37)
    assert Window.around(item, (40, 60), 9, 0).box == (0, 0, 60, 40)
    small = Window.around(item, (40, 60), 9, 0, max_side=30)
    assert small.shape == (20, 30)
    assert small.cut(image).shape == (20, 30, 3)
    back = small.paste(small.soft(item) > 0.5)
    assert back.shape == (40, 60) and back.dtype == bool
    assert mask_iou(back, item.render((40, 60))) > 0.8


@pytest.mark.parametrize('max_side, good', [(512, 0.96), (60, 0.93)])
@pytest.mark.parametrize('shift', [(0, 0), (4, -3)])
def test_densecrf_moves_a_mask_onto_the_edge(rng, shift, max_side, good):
    """Patches of 8 pixels round the outline, and the whole is off, too."""
    truth = _disk((128, 128), (60, 66), 33)
    item = _patches(np.roll(truth, shift, (0, 1)), 8)
    before = mask_iou(item.render((128, 128)), truth)
    mask, iou = DenseCRFRefiner(max_side=max_side)(_paint(truth, rng), item)
    after = mask_iou(mask, truth)
    assert mask.dtype == bool and mask.shape == (128, 128)
    assert before < 0.92 and after > good
    assert 0.7 < iou < 1


def test_densecrf_reports_the_change_it_made(rng):
    truth = _disk((96, 96), (48, 48), 25)
    item = _patches(truth, 8)
    mask, iou = DenseCRFRefiner()(_paint(truth, rng), item)
    # nothing shrunk: the IoU is that of the masks
    assert iou == pytest.approx(mask_iou(item.render((96, 96)), mask))


def test_densecrf_leaves_a_flat_image_nearly_alone():
    item = _patches(_disk((96, 96), (48, 48), 30), 8)
    mask, iou = DenseCRFRefiner()(np.full((96, 96, 3), 90, np.uint8), item)
    assert iou > 0.85  # corners of patches go


def test_densecrf_stays_in_its_window(rng):
    """Red everywhere: what lies far from the mask is not looked at."""
    truth = _disk((200, 200), (50, 50), 30) | _disk((200, 200), (150, 150), 30)
    item = _patches(_disk((200, 200), (50, 50), 30), 8)
    mask, _ = DenseCRFRefiner()(_paint(truth, rng), item)
    assert mask_iou(mask, _disk((200, 200), (50, 50), 30)) > 0.95
    assert not mask[110:, 110:].any()


def test_densecrf_is_deterministic(rng):
    truth = _disk((96, 96), (48, 48), 25)
    image, item = _paint(truth, rng), _patches(truth, 8)
    first, first_iou = DenseCRFRefiner()(image, item)
    again, again_iou = DenseCRFRefiner()(image, item)
    np.testing.assert_array_equal(first, again)
    assert first_iou == again_iou


@pytest.mark.parametrize('size', [(1, 1), (1, 40), (40, 1), (3, 2),
                                  (5, 1200)])
def test_densecrf_on_every_size(rng, size):
    image = rng.integers(0, 256, (*size, 3), np.uint8)
    item = Proposal(np.ones((4, 4), bool), (0, 0, size[1], size[0]), 0.5, 1)
    mask, iou = DenseCRFRefiner()(image, item)
    assert mask.shape == size and iou > 0.5


def test_image_is_not_written_to(rng):
    truth = _disk((64, 64), (32, 32), 15)
    image = _paint(truth, rng)
    copy = image.copy()
    image.flags.writeable = False
    DenseCRFRefiner()(image, _patches(truth, 8))
    np.testing.assert_array_equal(image, copy)


def test_build_refiner():
    assert isinstance(build_refiner(dict(type='none')), NoRefiner)
    crf = build_refiner(dict(type='densecrf', iterations=2, smooth=[1, 0.5]))
    assert isinstance(crf, DenseCRFRefiner) and crf.iterations == 2
    assert build_refiner(dict(smooth=[1, 0.5], iterations=2,
                              type='densecrf')) is crf


def test_a_class_of_ones_own_is_built_by_its_path():
    name = 'sohes.pseudo_labels.refinement.DenseCRFRefiner'
    own = build_refiner(dict(type=name, iterations=2))
    assert isinstance(own, DenseCRFRefiner) and own.iterations == 2


@pytest.mark.parametrize('config, reason', [
    (dict(type='crm'), "'crm' is not known; one of none, densecrf, cascade"),
    (dict(), 'None is not known'),
    (dict(type='no_such_module.Mine'), "No module named 'no_such_module'"),
    (dict(type='sohes.pseudo_labels.window.Mine'), "no attribute 'Mine'"),
    (dict(type='densecrf', speed=3), "densecrf: .*'speed'"),
    (dict(type='none', speed=3), 'none: '),
])
def test_unknown_refiner_or_argument(config, reason):
    with pytest.raises(ValueError, match=reason):
        build_refiner(config)


def test_missing_package_names_the_command(monkeypatch):
    import sys
    monkeypatch.setitem(sys.modules, 'pydensecrf.densecrf', None)
    with pytest.raises(ImportError, match=r'pydensecrf2: pip install "sohes'):
        DenseCRFRefiner()
