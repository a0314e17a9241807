"""Step 2: where the crops lie, and what is kept of them."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sohes.pseudo_labels.local import (
    cluster_crop,
    cut_crops,
    join_windows,
    plan_crops,
    plan_windows,
    square_crop,
)
from sohes.pseudo_labels.options import LocalOptions


@pytest.mark.parametrize('bounds, expected', [
    ((40, 40, 60, 50), (30, 25, 70, 65)),  # twice the longer side, centred
    ((0, 0, 20, 20), (0, 0, 40, 40)),  # moved inside
    ((90, 70, 100, 80), (68, 48, 100, 80)),  # at least 32, moved inside
    ((48, 38, 52, 42), (34, 24, 66, 56)),
    ((10, 30, 70, 50), (0, 0, 100, 80)),  # 120 > 100 and 80: all there is
    ((30, 0, 75, 10), (8, 0, 98, 80)),  # 90 wide, but only 80 high
    ((0, 0, 0.5, 0.5), (0, 0, 32, 32)),
])
def test_square_crop(bounds, expected):
    crop = square_crop(bounds, size=(80, 100), scale=2, min_side=32)
    assert crop == expected
    assert all(type(edge) is int for edge in crop)


def test_crop_of_an_image_smaller_than_it():
    assert square_crop((0, 0, 1, 1), (1, 1), 2, 32) == (0, 0, 1, 1)
    assert square_crop((0, 0, 5, 3), (3, 7), 2, 32) == (0, 0, 7, 3)


def test_no_region_no_crop():
    assert plan_crops([], (10, 10)) == ([], 0)


def test_regions_close_to_each_other_share_a_crop():
    bounds = [(40, 40, 60, 60), (45, 45, 57, 57), (44, 42, 58, 52)]
    assert plan_crops(bounds, (100, 100)) == ([(30, 30, 70, 70)], 0)


def test_a_crop_is_not_shared_if_the_zoom_is_lost():
    # own crops of 80 and 32 pixels: 80 > 1.5 * 32
    bounds = [(40, 40, 80, 80), (58, 58, 62, 62)]
    assert len(plan_crops(bounds, (120, 120))[0]) == 2
    assert len(plan_crops(bounds, (120, 120), max_zoom_out=2.5)[0]) == 1


def test_a_shared_crop_leaves_half_the_margin():
    # the first crop is (30, 30, 70, 70); 16 wide asks for 4 pixels around
    first = (40, 40, 60, 60)
    inside, outside = (34, 40, 50, 56), (33, 40, 49, 56)
    assert len(plan_crops([first, inside], (100, 100))[0]) == 1
    assert len(plan_crops([first, outside], (100, 100))[0]) == 2
    # at the image's border no margin is asked for
    at_border = plan_crops([(0, 10, 20, 30), (0, 12, 16, 28)], (100, 100))
    assert at_border == ([(0, 0, 40, 40)], 0)


def test_max_crops_keeps_those_that_hold_most():
    bounds = [(10, 10, 30, 30), (60, 60, 76, 76), (61, 61, 75, 75)]
    crops, left_out = plan_crops(bounds, (100, 100))
    assert (len(crops), left_out) == (2, 0)
    assert plan_crops(bounds, (100, 100), max_crops=1) == ([crops[1]], 1)
    assert plan_crops(bounds, (100, 100), max_crops=2) == (crops, 0)


@st.composite
def _plans(draw) -> tuple:
    height, width = draw(st.integers(1, 200)), draw(st.integers(1, 200))

    def span(limit: int) -> tuple[float, float]:
        low = draw(st.floats(0, limit - 0.5))
        return low, draw(st.floats(min(low + 0.1, limit), limit))
    bounds = []
    for _ in range(draw(st.integers(0, 12))):
        (left, right), (top, bottom) = span(width), span(height)
        bounds.append((left, top, right, bottom))
    return bounds, (height, width)


def _is_inside(bounds: tuple, crop: tuple) -> bool:
    return (crop[0] <= bounds[0] and crop[1] <= bounds[1]
            and bounds[2] <= crop[2] and bounds[3] <= crop[3])


@settings(max_examples=200, deadline=None)
@given(_plans(), st.sampled_from([1.5, 2.0, 3.0]),
       st.sampled_from([8, 32, 500]), st.sampled_from([1.0, 1.5, 10.0]),
       st.sampled_from([None, 1, 3]))
def test_every_region_is_in_a_crop_or_counted(plan, scale, min_side,
                                              max_zoom_out, max_crops):
    bounds, size = plan
    crops, left_out = plan_crops(bounds, size, scale, min_side,
                                 max_zoom_out, max_crops)
    assert len(crops) == len(set(crops)) or max_zoom_out < 1
    for left, top, right, bottom in crops:
        assert 0 <= left < right <= size[1] and 0 <= top < bottom <= size[0]
    homeless = sum(not any(_is_inside(b, c) for c in crops) for b in bounds)
    assert homeless <= left_out
    if max_crops is None:
        assert left_out == 0 and len(crops) <= len(bounds)
    else:
        assert len(crops) <= max_crops
        every, _ = plan_crops(bounds, size, scale, min_side, max_zoom_out)
        assert set(crops) <= set(every)
        assert (left_out > 0) == (len(crops) < len(every))


@settings(max_examples=30, deadline=None)
@given(_plans(), st.randoms(use_true_random=False))
def test_the_order_of_regions_does_not_matter(plan, random):
    bounds, size = plan
    shuffled = random.sample(bounds, len(bounds))
    assert plan_crops(shuffled, size) == plan_crops(bounds, size)


def test_cut_crops():
    image = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    one, two = cut_crops(image, [(1, 0, 3, 4), (4, 3, 5, 4)])
    np.testing.assert_array_equal(one, image[:, 1:3])
    np.testing.assert_array_equal(two, image[3:, 4:])


# 6 x 6 patches: o lies inside, a b c d touch one side each, the rest is .
GRID = ['.aa...', '......', 'b.oo.c', 'b.oo.c', '......', '..dd..']
KINDS = '.oabcd'
SIZE = (100, 100)


def _cluster(crop: tuple, min_patches: int = 2,
             thresholds: tuple = (0.5, )) -> dict[str, np.ndarray]:
    ids = np.array([[KINDS.index(kind) for kind in row] for row in GRID])
    features = np.eye(len(KINDS), dtype=np.float32)[ids]
    found = {}
    for item in cluster_crop(features, crop, SIZE, thresholds, 0.9,
                             min_patches):
        kinds = {KINDS[k] for k in np.unique(ids[item.grid])}
        found[''.join(sorted(kinds))] = item
    return found


@pytest.mark.parametrize('crop, kept', [
    # all four borders lie inside the image
    ((10, 10, 40, 40), {'o'}),
    # the image's own border is no reason to drop
    ((0, 10, 30, 40), {'o', 'b'}), ((10, 0, 40, 30), {'o', 'a'}),
    ((70, 10, 100, 40), {'o', 'c'}), ((10, 70, 40, 100), {'o', 'd'}),
    ((0, 0, 30, 30), {'o', 'a', 'b'}),
    # the crop is the image: the rest, which touches all four, too
    ((0, 0, 100, 100), {'o', 'a', 'b', 'c', 'd', '.'}),
])
def test_what_touches_an_inner_border_is_dropped(crop, kept):
    assert set(_cluster(crop)) == kept


@pytest.mark.parametrize('crop', [
    (0, 10, 30, 40), (10, 70, 40, 100), (0, 0, 100, 100)])
def test_what_touches_any_border_is_dropped_when_asked(crop):
    ids = np.array([[KINDS.index(kind) for kind in row] for row in GRID])
    features = np.eye(len(KINDS), dtype=np.float32)[ids]
    item, = cluster_crop(features, crop, SIZE, (0.5, ), 0.9, 1,
                         keep_image_edges=False)
    assert {KINDS[k] for k in np.unique(ids[item.grid])} == {'o'}
    with pytest.raises(ValueError, match="keep_image_edges.*'no'"):
        LocalOptions(keep_image_edges='no')


def test_what_is_kept_says_where_it_lies():
    item = _cluster((10, 20, 40, 50))['o']
    assert item.step == 2 and item.box == (10, 20, 40, 50)
    # patches of 5 x 5 pixels, rows and columns 2 and 3
    assert item.bounds() == (20, 30, 30, 40)
    assert item.area == pytest.approx(100)
    mask = item.render(SIZE)
    assert mask[32:38, 22:28].all() and not mask[:30].any()


def test_min_patches_and_score():
    assert set(_cluster((10, 10, 40, 40), min_patches=4)) == {'o'}
    assert _cluster((10, 10, 40, 40), min_patches=5) == {}
    # 'o' forms at 1, is absorbed at 0, and has 100 of 10 000 pixels
    score = _cluster((10, 10, 40, 40))['o'].score
    assert score == pytest.approx((1 * 0.01**0.5)**0.25)


def test_whole_crop_is_kept_only_if_it_is_the_image():
    thresholds = (0.5, -1.0)
    assert 'abcdo' not in ''.join(_cluster((10, 10, 40, 40), 2, thresholds))
    assert '.abcdo' in _cluster((0, 0, 100, 100), 2, thresholds)


def test_a_single_patch_or_none(rng):
    one = np.ones((1, 1, 2), np.float32)
    assert cluster_crop(one, (1, 1, 9, 9), SIZE, (0.5, ), 0.9, 1) == []
    item, = cluster_crop(one, (0, 0, 100, 100), SIZE, (0.5, ), 0.9, 1)
    assert item.grid.tolist() == [[True]]
    with pytest.raises(ValueError, match='NaN or Inf'):
        cluster_crop(one * np.nan, (1, 1, 9, 9), SIZE, (0.5, ), 0.9, 1)


@pytest.mark.parametrize('size, count, shape, windows', [
    ((20, 30), 3, (2, 3), [(0, 0, 10, 10), (10, 0, 20, 10), (20, 0, 30, 10),
                           (0, 10, 10, 20), (10, 10, 20, 20),
                           (20, 10, 30, 20)]),
    ((31, 9), 2, (2, 1), [(0, 0, 9, 16), (0, 16, 9, 31)]),
    ((1, 2), 5, (1, 2), [(0, 0, 1, 1), (1, 0, 2, 1)]),
])
def test_plan_windows(size, count, shape, windows):
    assert plan_windows(size, count) == (windows, shape)


def test_joined_windows_are_the_whole(rng):
    whole = rng.normal(size=(4, 6, 5)).astype(np.float32)
    windows = np.stack([whole[2 * r:2 * r + 2, 2 * c:2 * c + 2]
                        for r in range(2) for c in range(3)])
    np.testing.assert_array_equal(join_windows(windows, (2, 3), False), whole)
    np.testing.assert_allclose(join_windows(windows, (2, 3), True),
                               whole - whole.mean((0, 1)), atol=1e-6)
