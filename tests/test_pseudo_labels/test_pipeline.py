"""The four steps on painted images whose labels can be written down."""
import pickle

import numpy as np
import pytest

from sohes.pseudo_labels.options import ExploreOptions, with_thresholds
from sohes.pseudo_labels.pipeline import explore, finish, propose
from sohes.pseudo_labels.window import mask_iou
from sohes.structures import Entities, EntityForest
from tests.test_pseudo_labels.color_extractor import (
    BG,
    BODY,
    OTHER,
    PART,
    ColorExtractor,
    stripes,
)


def _explore(image: np.ndarray, extractor: ColorExtractor | None = None,
             **options) -> Entities:
    options.setdefault('image_size', 128)
    options.setdefault('local', None)
    return explore(image, extractor or ColorExtractor(),
                   ExploreOptions.from_dict(options))


def _boxes(labels: Entities) -> list[tuple[int, int, int, int]]:
    """(left, top, right, bottom) of each mask, which must fill it."""
    out = []
    for mask in labels.masks():
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(
            mask.any(0))
        box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        assert mask[box[1]:box[3], box[0]:box[2]].all()
        out.append(tuple(int(v) for v in box))
    return out


def _parents(labels: Entities) -> dict:
    boxes = _boxes(labels)
    return {box: None if parent < 0 else boxes[parent]
            for box, parent in zip(boxes, labels.forest.parents)}


def _check(labels: Entities, options: ExploreOptions) -> None:
    """What holds for any labels."""
    counts, masks = labels.counts, labels.masks()
    candidates = (counts['global'] + counts.get('local', 0)
                  - counts.get('duplicates_of_crops', 0)
                  - counts['over_max_candidates'])
    assert len(labels.rles) == (candidates - counts['changed_too_much']
                                - counts['not_refined']
                                - counts['duplicates_after_refinement']
                                - counts['over_max_masks'])
    assert min(counts.values()) >= 0
    assert len(labels.rles) == len(labels.scores) == len(labels.forest)
    assert (np.diff(labels.scores) <= 0).all()
    assert ((labels.scores >= 0) & (labels.scores <= 1)).all()
    assert masks.shape == (len(labels.rles), *labels.size)
    assert all(mask.any() for mask in masks)
    for k, one in enumerate(masks):
        assert all(mask_iou(one, two) <= options.nms_iou
                   for two in masks[:k])
    assert labels.forest == EntityForest.from_masks(
        labels.rles, coverage=options.coverage)


@pytest.mark.parametrize('height, widths', [
    (128, (80, 50, 30)),  # patches of 8 x 10 pixels
    (77, (80, 50, 30)), (5, (8, 5, 3)),  # of less than a pixel's height
])
def test_step_1_gives_the_bands_and_their_unions(height, widths):
    # similarity of body and part is 0.6, of background and body 0.2
    a, b, c = np.cumsum(widths).tolist()
    labels = _explore(stripes(height, (widths[0], BG), (widths[1], BODY),
                              (widths[2], PART)))
    whole, back, thing, body, part = (
        (left, 0, right, height)
        for left, right in ((0, c), (0, a), (a, c), (a, b), (b, c)))
    assert _parents(labels) == {whole: None, back: whole, thing: whole,
                                body: thing, part: thing}
    assert labels.size == (height, c)
    assert labels.counts['global'] == 5
    _check(labels, ExploreOptions())


def test_scores_tell_how_long_a_region_stood_alone():
    labels = _explore(stripes(128, (80, BG), (50, BODY), (30, PART)))
    score = dict(zip(_boxes(labels), labels.scores))
    # (formed - absorbed) * sqrt(share of the image), its fourth root
    assert score[130, 0, 160, 128] == pytest.approx(
        (0.4 * (3 / 16)**0.5)**0.25, abs=1e-6)
    assert score[80, 0, 130, 128] == pytest.approx(
        (0.4 * (5 / 16)**0.5)**0.25, abs=1e-6)


@pytest.mark.parametrize('thresholds, expected', [
    ((0.9, ), {(0, 80), (80, 130), (130, 160)}),
    ((0.5, ), {(0, 80), (80, 160)}), ((0.1, ), {(0, 160)}),
    ((0.5, 0.1), {(0, 80), (80, 160), (0, 160)}),
])
def test_each_threshold_adds_its_partition(thresholds, expected):
    labels = _explore(stripes(128, (80, BG), (50, BODY), (30, PART)),
                      thresholds=thresholds)
    assert {(box[0], box[2]) for box in _boxes(labels)} == expected


def test_nms_iou_and_min_patches():
    image = stripes(128, (128, BG), (32, BODY))
    # background 0.8 of all: 13 of 16 columns of patches would be 0.81
    assert len(_explore(image).rles) == 3
    assert len(_explore(image, nms_iou=0.7).rles) == 2
    # 16 rows of 3.2 columns: the column at the border is mixed
    assert _explore(image, min_patches=257).rles == []


# A thing of 16 x 16 pixels, its left half a body, its right half a part,
# exactly under one patch of the whole image, which sees but their mean.
THING, LEFT, RIGHT = (96, 112, 112, 128), (96, 112, 104, 128), (
    104, 112, 112, 128)


def _tiny_thing(*corners: tuple[int, int]) -> np.ndarray:
    image = stripes(256, (256, BG))
    for x, y in corners or [THING[:2]]:
        image[y:y + 16, x:x + 8] = BODY
        image[y:y + 16, x + 8:x + 16] = PART
    return image


LOCAL = dict(max_area=1024, image_size=128)


def test_step_2_finds_the_halves_of_a_tiny_thing():
    extractor = ColorExtractor()
    labels = _explore(_tiny_thing(), extractor, local=LOCAL)
    background = next(k for k, m in enumerate(labels.masks()) if m[0, 0])
    labels.rles.pop(background)  # it has a hole, no box
    assert labels.forest.parents[background] == -1
    boxes = _boxes(labels)
    assert sorted(boxes) == sorted([THING, LEFT, RIGHT])
    parents = np.delete(labels.forest.parents, background)
    parents = dict(zip(boxes, parents.tolist()))
    thing = parents.pop(LEFT)
    assert parents == {THING: -1, RIGHT: thing} and thing >= 0
    assert labels.counts == dict(
        {'global': 1}, small_regions=1, small_regions_without_crop=0,
        crops=1, local=3, duplicates_of_crops=0, over_max_candidates=0,
        not_refined=0, changed_too_much=0, duplicates_after_refinement=0,
        over_max_masks=0)
    assert extractor.calls == [(1, 128), (1, 128)]


def test_without_step_2_a_tiny_thing_is_lost():
    labels = _explore(_tiny_thing())
    assert len(labels.rles) == 1
    assert not labels.masks()[0, 118:122, 102:106].any()


def test_step_2_replaces_what_it_looks_at():
    # as a region of step 1 the thing would be one patch; even where those
    # count, only step 2's are kept
    labels = _explore(_tiny_thing(), min_patches=1, local=LOCAL)
    assert labels.counts['global'] == 1 and len(labels.rles) == 4
    assert len(_explore(_tiny_thing(), min_patches=1).rles) == 2


def test_step_2_may_be_given_as_a_share_of_the_image():
    # one patch of 256
    for share, crops in ((1 / 256, 0), (1 / 255, 1)):
        labels = _explore(_tiny_thing(), local=dict(LOCAL, max_area=share))
        assert labels.counts.get('crops', 0) == crops


def test_step_2_has_thresholds_of_its_own():
    labels = _explore(_tiny_thing(), local=dict(LOCAL, thresholds=[0.9]))
    assert labels.counts['local'] == 2
    labels = _explore(_tiny_thing(), local=dict(LOCAL, thresholds=[0.5]))
    assert labels.counts['local'] == 1


@pytest.mark.parametrize('batch_size, batches', [(1, [1, 1, 1]), (2, [2, 1]),
                                                 (8, [3])])
def test_crops_go_through_the_extractor_in_batches(batch_size, batches):
    extractor = ColorExtractor()
    image = _tiny_thing((0, 0), (240, 16), (96, 112))
    labels = _explore(image, extractor,
                      local=dict(LOCAL, batch_size=batch_size))
    assert extractor.calls == [(1, 128)] + [(n, 128) for n in batches]
    assert labels.counts['local'] == 9 and len(labels.rles) == 10
    _check(labels, ExploreOptions())


@pytest.mark.parametrize('batch_size, batches', [(4, [4, 2]), (8, [6])])
def test_windows_in_place_of_crops(batch_size, batches):
    # the thing lies across borders of windows: 3 x 2 of 32 x 32 pixels,
    # each of 16 x 16 patches
    image = stripes(64, (96, BG))
    image[28:36, 28:32] = BODY
    image[28:36, 32:36] = PART
    extractor = ColorExtractor()
    labels = _explore(image, extractor, local=dict(
        LOCAL, windows=3, batch_size=batch_size))
    assert extractor.calls == [(1, 128)] + [(n, 128) for n in batches]
    assert labels.counts['windows'] == 6
    assert {(28, 28, 36, 36), (28, 28, 32, 36),
            (32, 28, 36, 36)} <= set(_boxes_of_small(labels))
    _check(labels, ExploreOptions())


def test_windows_lose_the_mean_of_all_of_them():
    """A window of one colour alone would lose all there is."""
    class Centred(ColorExtractor):
        center = True

        def __call__(self, images, size, center=True):
            features = super().__call__(images, size)
            return (features - features.mean((1, 2), keepdims=True)
                    if center else features)
    image = stripes(64, (64, BG), (64, BODY))
    labels = _explore(image, Centred(), image_size=64, thresholds=(0.9, ),
                      local=dict(LOCAL, max_area=1, image_size=64, windows=2))
    assert {(0, 0, 64, 64), (64, 0, 128, 64)} <= set(_boxes(labels))


def test_max_crops_are_counted():
    image = _tiny_thing((0, 0), (240, 16), (96, 112))
    labels = _explore(image, local=dict(LOCAL, max_crops=2))
    assert labels.counts['crops'] == 2
    assert labels.counts['small_regions_without_crop'] == 1
    assert labels.counts['local'] == 6


def test_what_several_crops_find_is_kept_once():
    # body and part each fill a patch: both and their union are small
    image = stripes(256, (256, BG))
    image[112:128, 96:112] = BODY
    image[112:128, 112:128] = PART
    shared = _explore(image, local=LOCAL)
    apart = _explore(image, local=dict(LOCAL, min_crop=64, max_zoom_out=0))
    assert shared.counts['small_regions'] == 3
    assert apart.counts['crops'] == 3 and apart.counts['local'] == 9
    assert apart.counts['duplicates_of_crops'] == 6
    assert len(apart.rles) == 4
    _check(apart, ExploreOptions())
    _check(shared, ExploreOptions())


def test_a_thing_cut_by_the_image_s_border_is_kept():
    labels = _explore(_tiny_thing((0, 0)), local=LOCAL)
    assert {(0, 0, 16, 16), (0, 0, 8, 16), (8, 0, 16, 16)} <= set(
        _boxes_of_small(labels))


def _boxes_of_small(labels: Entities) -> list:
    return _boxes(labels.subset(labels.areas() < 1024))


def test_max_candidates_caps_what_is_refined():
    image = stripes(128, (80, BG), (50, BODY), (30, PART))
    options = ExploreOptions(image_size=128, local=None, max_candidates=3)
    found = propose(image, ColorExtractor(), options)
    every = propose(image, ColorExtractor(),
                    ExploreOptions(image_size=128, local=None))
    assert found.counts['over_max_candidates'] == 2
    assert [i.score for i in found.items] == [i.score
                                              for i in every.items][:3]


def test_step_3_sharpens_what_patches_see_roughly(rng):
    # bands that end in the middle of a patch
    image = stripes(128, (84, BG), (76, OTHER))
    rough = _explore(image, thresholds=(0.9, ))
    sharp = _explore(image, thresholds=(0.9, ),
                     refiner=dict(type='densecrf'))
    truth = np.zeros((128, 160), bool)
    truth[:, 84:] = True

    def best(labels: Entities) -> float:
        return max(mask_iou(mask, truth) for mask in labels.masks())
    assert best(rough) < 0.96 and best(sharp) > 0.98


def _blocks(rng: np.random.Generator, height: int = 90,
            width: int = 131) -> np.ndarray:
    """Blocks of 10 pixels in four colours: odd sizes, many regions."""
    colors = np.array([BG, BODY, PART, OTHER], np.uint8)
    ids = rng.integers(0, 4, (height // 10 + 1, width // 10 + 1))
    return colors[ids].repeat(10, 0).repeat(10, 1)[:height, :width]


STEPS = {
    '1': dict(),
    '1+2': dict(local=dict(max_area=400, image_size=64)),
    '1+3': dict(refiner=dict(type='densecrf')),
    '1+2+3': dict(local=dict(max_area=400, image_size=64),
                  refiner=dict(type='densecrf')),
    'fast': dict(local=dict(max_area=400, image_size=64, windows=2),
                 refiner=dict(type='localcrf')),
}


@pytest.mark.parametrize('steps', STEPS)
def test_each_step_on_and_off(rng, steps):
    image = _blocks(rng)
    options = ExploreOptions.from_dict(
        dict(dict(image_size=128, local=None), **STEPS[steps]))
    labels = explore(image, ColorExtractor(), options)
    assert len(labels.rles) > 10
    assert ('crops' in labels.counts) == ('2' in steps)
    assert ('windows' in labels.counts) == (steps == 'fast')
    _check(labels, options)


def test_same_input_same_output(rng):
    image = _blocks(rng)
    first, again = (_explore(image, **STEPS['1+2+3']) for _ in range(2))
    assert first.rles == again.rles and first.counts == again.counts
    np.testing.assert_array_equal(first.scores, again.scores)
    assert first.forest == again.forest


def test_the_two_halves_may_run_in_two_processes(rng):
    image = _blocks(rng)
    options = ExploreOptions.from_dict(dict(image_size=128,
                                            **STEPS['1+2+3']))
    proposals = propose(image, ColorExtractor(), options)
    sent = pickle.loads(pickle.dumps((proposals, options)))
    there = finish(image, *sent)
    here = explore(image, ColorExtractor(), options)
    assert there.rles == here.rles and there.counts == here.counts


@pytest.mark.parametrize('steps', STEPS)
@pytest.mark.parametrize('size', [(1, 1), (1, 50), (50, 1), (3, 5)])
def test_tiny_images(steps, size):
    image = np.full((*size, 3), BODY, np.uint8)
    labels = _explore(image, **STEPS[steps])
    assert labels.masks().tolist() == np.ones((1, *size), bool).tolist()
    assert labels.forest.parents.tolist() == [-1]


@pytest.mark.parametrize('steps', STEPS)
def test_a_flat_image_is_one_mask(steps):
    labels = _explore(stripes(60, (90, BG)), **STEPS[steps])
    assert labels.masks().all() and len(labels.rles) == 1


@pytest.mark.parametrize('steps', STEPS)
def test_no_proposals_at_all(steps):
    # one patch is less than min_patches, in the crops, too
    options = dict(STEPS[steps], image_size=8)
    if 'local' in options:
        options['local'] = dict(max_area=1 << 20, image_size=8)
    labels = _explore(stripes(60, (90, BG)), **options)
    assert labels.rles == [] and len(labels.forest) == 0
    assert labels.masks().shape == (0, 60, 90)
    assert labels.scores.shape == (0, )
    _check(labels, ExploreOptions())


def test_default_options_are_the_paper_s():
    extractor = ColorExtractor(patch_size=64)
    labels = explore(stripes(60, (90, BG)), extractor)
    assert extractor.calls == [(1, 1024)] and len(labels.rles) == 1


@pytest.mark.parametrize('image', [
    np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8),
    np.zeros((4, 4, 3), np.float32)])
def test_other_images_are_refused(image):
    with pytest.raises(ValueError, match=r'must be \(H, W, 3\) uint8 RGB, f'):
        explore(image, ColorExtractor())


def test_features_that_are_not_finite_are_refused():
    def broken(images: list, size: int) -> np.ndarray:
        return np.full((len(images), 4, 4, 2), np.nan, np.float32)
    with pytest.raises(ValueError, match='NaN or Inf'):
        explore(stripes(9, (9, BG)), broken,
                ExploreOptions(thresholds=(0.5, )))


def test_features_without_a_preset_need_thresholds():
    def features(images: list, size: int) -> np.ndarray:
        return np.ones((len(images), 4, 4, 2), np.float32)
    with pytest.raises(ValueError, match='no thresholds: name them'):
        explore(stripes(9, (9, BG)), features)
    options = ExploreOptions(thresholds=(0.5, ))
    assert with_thresholds(options, ColorExtractor()) is options
