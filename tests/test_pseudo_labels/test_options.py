"""Every value is checked, and an error names it."""
import dataclasses
import math

import pytest

from sohes.pseudo_labels.options import ExploreOptions, LocalOptions


def test_the_paper_s_values_are_the_defaults():
    options = ExploreOptions()
    assert options.image_size == 1024
    assert options.max_masks < 200
    assert options.coverage == 0.9
    assert options.local.max_area == 1 / 1024
    assert options.local.image_size == 256


def test_from_dict_is_the_constructor():
    assert ExploreOptions.from_dict({}) == ExploreOptions()
    assert ExploreOptions.from_dict(
        dict(image_size=448, thresholds=[0.5, 0.25],
             refiner=dict(type='densecrf'),
             local=dict(max_area=32**2, thresholds=[0.5]))) == ExploreOptions(
                 image_size=448, thresholds=(0.5, 0.25),
                 refiner=dict(type='densecrf'),
                 local=LocalOptions(max_area=1024, thresholds=(0.5, )))


def test_local_none_leaves_step_2_out():
    assert ExploreOptions.from_dict(dict(local=None)).local is None


def test_refiner_none_leaves_step_3_out():
    for values in ({}, dict(refiner=None), dict(refiner=dict(type='none'))):
        assert ExploreOptions.from_dict(values).refiner == dict(type='none')


def test_what_asdict_gives_goes_back_in():
    options = ExploreOptions(local=LocalOptions(max_crops=3))
    assert ExploreOptions.from_dict(dataclasses.asdict(options)) == options
    assert ExploreOptions.from_dict(vars(options)) == options


def test_the_dict_given_is_left_alone():
    given = dict(local=dict(max_crops=3))
    ExploreOptions.from_dict(given)
    assert given == dict(local=dict(max_crops=3))


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ExploreOptions().coverage = 0.5


@pytest.mark.parametrize('max_area, expected', [
    (1 / 1024, 300.0), (0.5, 153600.0), (1, 1), (1024, 1024), (0, 0)])
def test_bound_of_small(max_area, expected):
    # a share of the image if below 1, else pixels
    assert LocalOptions(max_area=max_area).bound((480, 640)) == expected


@pytest.mark.parametrize('values, reason', [
    (dict(imagesize=3), r"pseudo_labels: unknown key 'imagesize'.*image_size"),
    (dict(local=dict(thresh=3)), "local: unknown key 'thresh'.*thresholds"),
    (dict(local=True), 'local must be a dict, found True'),
    (7, 'pseudo_labels must be a dict, found 7'),
    (dict(refiner='none'), "refiner must be a dict .*found 'none'"),
    (dict(thresholds=[0.5, 0.6]), 'thresholds must fall'),
    (dict(thresholds=[0.5, 'x']), 'thresholds: .*x'),
    (dict(thresholds=[]), 'thresholds: .*non-empty'),
    (dict(thresholds=[1.5]), 'thresholds: .*1.5'),
    (dict(local=dict(thresholds=[0.1, 0.1])), 'local.thresholds: .*fall'),
])
def test_errors_name_the_key(values, reason):
    with pytest.raises(ValueError, match=reason):
        ExploreOptions.from_dict(values)


@pytest.mark.parametrize('key', ['image_size', 'min_patches', 'max_masks',
                                 'max_candidates'])
@pytest.mark.parametrize('value', [0, -1, 1.5, True, None, '8', math.nan])
def test_counts_are_positive_integers(key, value):
    with pytest.raises(ValueError, match=f'^{key} must be a positive integer'):
        ExploreOptions.from_dict({key: value})


@pytest.mark.parametrize('key', ['image_size', 'min_crop', 'min_patches',
                                 'batch_size', 'max_crops'])
@pytest.mark.parametrize('value', [0, -1, 1.5, True, '8'])
def test_counts_of_step_2_are_positive_integers(key, value):
    with pytest.raises(ValueError, match=f'^local.{key} must be a positive'):
        ExploreOptions.from_dict(dict(local={key: value}))


@pytest.mark.parametrize('key', ['nms_iou', 'refine_min_iou', 'coverage'])
@pytest.mark.parametrize('value', [-0.1, 1.1, math.nan, None, '0.5', True])
def test_shares_are_in_0_to_1(key, value):
    with pytest.raises(ValueError, match=rf'^{key} must be .*\[0, 1\], found'):
        ExploreOptions.from_dict({key: value})
    for sound in (0, 0.5, 1):
        assert getattr(ExploreOptions.from_dict({key: sound}), key) == sound


@pytest.mark.parametrize('key, value', [
    ('max_area', -1), ('max_area', math.nan), ('crop_scale', 0.9),
    ('crop_scale', 101), ('max_zoom_out', -1),
    ('max_zoom_out', 'inf'), ('max_area', float('inf'))])
def test_numbers_of_step_2(key, value):
    with pytest.raises(ValueError, match=f'^local.{key} must be a number'):
        ExploreOptions.from_dict(dict(local={key: value}))
