"""AR of other draws of the images."""
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sohes.evaluation.mask_matching import (
    ImageMasks,
    detection_limits,
    match_image,
)
from sohes.evaluation.mask_metrics import summarize
from sohes.evaluation.resampling import interval, resampled_ar
from sohes.experiments.tables import MethodScores, as_json, markdown


def image(found: int, missed: int):
    """An image of which so many masks are found, perfectly, and so many not.
    """
    masks = np.zeros((10, 10, found + missed), np.uint8, order='F')
    for k in range(found + missed):
        masks[k, :, k] = 1
    rles = coco_mask.encode(masks)
    return match_image(
        ImageMasks(rles, [10.] * len(rles), [False] * len(rles),
                   rles[:found], [1.] * found, [10.] * found),
        detection_limits(1000))


def test_equal_images_leave_no_doubt():
    images = [image(1, 3)] * 7
    values = resampled_ar(images)
    assert values.shape == (2000, )
    assert values == pytest.approx(25)
    assert interval(values) == pytest.approx((25, 25))


def test_images_count_by_their_masks():
    # All of one mask, or none of three.
    images = [image(1, 0), image(0, 3)]
    values = resampled_ar(images, samples=4000)
    both = np.isclose(values, 25)
    assert set(values.round(6)) == {0, 25, 100}
    # Half of the draws of two have both.
    assert both.mean() == pytest.approx(0.5, abs=0.05)
    assert summarize(images).percentages()['AR@1000'] == pytest.approx(25)


def test_the_interval_is_that_of_the_textbook():
    # 400 images of one mask, half of them found: 50 +- 1.96 * 2.5.
    images = [image(1, 0), image(0, 1)] * 200
    low, high = interval(resampled_ar(images, samples=5000))
    assert low == pytest.approx(50 - 4.9, abs=0.4)
    assert high == pytest.approx(50 + 4.9, abs=0.4)


def test_methods_are_drawn_alike():
    worse = [image(k % 3, 3 - k % 3) for k in range(20)]
    better = [image(k % 3 + 1, 2 - k % 3) for k in range(20)]
    differences = resampled_ar(better) - resampled_ar(worse)
    assert differences == pytest.approx(100 / 3)
    assert np.ptp(resampled_ar(worse)) > 5
    assert (resampled_ar(worse, seed=1) != resampled_ar(worse)).any()


def test_without_masks_or_images():
    values = resampled_ar([image(0, 0)] * 3)
    assert np.isnan(values).all() and np.isnan(interval(values)).all()
    with pytest.raises(ValueError, match='no image'):
        resampled_ar([])


def test_the_table_has_the_difference_to_the_first():
    rows = []
    for name, images in (('labels', [image(1, 3)] * 5),
                         ('model', [image(2, 2)] * 5)):
        row = MethodScores(name)
        row.masks['x'] = summarize(images).percentages()
        row.resampled['x'] = resampled_ar(images)
        rows.append(row)
    text = ' '.join(markdown(rows, ['x']).split())
    assert 'minus labels' in text
    assert '| labels | x | 25.0 | 25.0 to 25.0 | | |' in text
    assert '| model | x | 50.0 | 50.0 to 50.0 | 25.0 | 25.0 to 25.0 |' in text
    labels, model = as_json(rows)
    assert labels['ar_draws']['x'].keys() == {'low', 'high'}
    assert model['ar_draws']['x'] == pytest.approx(
        dict(low=50, high=50, gain=25, gain_low=25, gain_high=25))
