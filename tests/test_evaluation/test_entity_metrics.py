"""The metrics of training, on masks that are counted by hand."""
import json
import math
import pickle

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement, InstanceData
from pycocotools import mask as coco_mask

from sohes.evaluation.entity_metric import EntityMetric
from sohes.evaluation.forest_metric import ForestMetric
from sohes.utils.errors import FileError

# Four masks on 8 x 8 pixels: 0 holds 1, 1 holds 2, 3 is apart.
BOXES = [(0, 0, 8, 4), (0, 0, 4, 4), (0, 0, 2, 2), (0, 5, 8, 8)]
PARENTS = [-1, 0, 1, -1]


def _masks(boxes=BOXES, size: int = 8) -> np.ndarray:
    masks = np.zeros((len(boxes), size, size), bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes):
        mask[top:bottom, left:right] = True
    return masks


def _truth(tmp_path, boxes=BOXES, parents=PARENTS, crowd=()) -> str:
    """A json of one image, number 7; parents None: the key is absent."""
    annotations = []
    for i, mask in enumerate(_masks(boxes)):
        rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
        row = dict(
            id=10 + i, image_id=7, category_id=3, iscrowd=int(i in crowd),
            area=int(mask.sum()),
            segmentation=dict(size=[8, 8], counts=rle['counts'].decode()))
        if parents is not None:
            row['parent_id'] = None if parents[i] < 0 else 10 + parents[i]
        annotations.append(row)
    path = tmp_path / 'truth.json'
    path.write_text(
        json.dumps(
            dict(images=[dict(id=7, file_name='a.jpg', height=8, width=8)],
                 annotations=annotations)))
    return str(path)


def _sample(masks, parents=None, scores=None, img_id=7) -> BaseDataElement:
    found = InstanceData(
        scores=torch.ones(len(masks)) if scores is None else
        torch.tensor(scores), masks=masks)
    if parents is not None:
        found.parents = torch.tensor(parents, dtype=torch.long)
    sample = BaseDataElement(pred_instances=found)
    sample.set_metainfo(dict(img_id=img_id))
    return sample


def _evaluate(metric, *samples) -> dict[str, float]:
    evaluator = Evaluator(metric)
    evaluator.process(list(samples))
    return evaluator.evaluate(len(samples))


@pytest.mark.parametrize('as_rle', [False, True])
def test_perfect_masks_have_recall_100(tmp_path, as_rle):
    masks = torch.from_numpy(_masks())
    if as_rle:
        masks = [coco_mask.encode(np.asfortranarray(m, np.uint8))
                 for m in masks.numpy()]
    found = _evaluate(EntityMetric(_truth(tmp_path)), _sample(masks))
    for name in ('entity/AR_M', 'entity/AR_L'):  # there is none
        assert math.isnan(found.pop(name))
    assert found.pop('entity/masks/image') == 4
    assert found.pop('entity/AR@1') == 25
    assert set(found.values()) == {100}


def test_one_of_four_found_and_one_of_two_right(tmp_path):
    masks = torch.from_numpy(_masks([BOXES[3], (7, 7, 8, 8)]))
    found = _evaluate(EntityMetric(_truth(tmp_path)),
                      _sample(masks, scores=[.9, .2]))
    assert found['entity/AR@1000'] == 25
    # 26 of COCO's 101 recalls are at most 0.25, all at precision 1.
    assert found['entity/AP@1000'] == pytest.approx(100 * 26 / 101, abs=1e-3)


def test_only_the_best_max_dets_count(tmp_path):
    sample = _sample(torch.from_numpy(_masks()), scores=[.4, .3, .2, .1])
    found = _evaluate(EntityMetric(_truth(tmp_path), max_dets=2), sample)
    assert found['entity/AR@2'] == 50


def test_scores_that_are_no_numbers_are_refused(tmp_path):
    sample = _sample(torch.from_numpy(_masks()), scores=[.4, math.nan, .2, 1])
    with pytest.raises(ValueError, match='image 7: the score of prediction 1 '
                       'must be a finite number, got nan'):
        _evaluate(EntityMetric(_truth(tmp_path)), sample)


def test_what_is_kept_of_an_image_is_small(tmp_path):
    metric = EntityMetric(_truth(tmp_path))
    masks = [coco_mask.encode(np.asfortranarray(_masks()[0], np.uint8))] * 2000
    metric.process(None, [_sample(masks, scores=[.5] * 2000).to_dict()])
    assert len(pickle.dumps(metric.results)) < 13_000


@pytest.mark.filterwarnings('error')
def test_no_prediction_is_recall_0(tmp_path):
    sample = _sample(torch.zeros(0, 8, 8, dtype=torch.bool), [])
    assert _evaluate(EntityMetric(_truth(tmp_path)),
                     sample)['entity/AR@1000'] == 0
    found = _evaluate(ForestMetric(_truth(tmp_path)), sample)
    assert found['forest/recall'] == 0
    assert math.isnan(found['forest/precision'])


def test_predictions_can_be_read_by_the_tool(tmp_path):
    out = tmp_path / 'new folder' / 'found.json'
    truth = _truth(tmp_path)
    _evaluate(EntityMetric(truth, outfile=str(out)),
              _sample(torch.from_numpy(_masks())))
    from sohes.evaluation import evaluate_masks
    from sohes.evaluation.coco_files import read_evaluation_input
    assert evaluate_masks(read_evaluation_input(truth, out).images).ar == 1


@pytest.mark.parametrize('metric', [EntityMetric, ForestMetric])
def test_predictions_of_other_images_are_refused(tmp_path, metric):
    masks = torch.from_numpy(_masks())
    with pytest.raises(ValueError, match='no image with the id 8'):
        _evaluate(metric(_truth(tmp_path)), _sample(masks, PARENTS,
                                                    img_id=8))
    with pytest.raises(ValueError, match='image 7 is 8 x 8 pixels, its '
                       'predicted masks are 9 x 9'):
        _evaluate(metric(_truth(tmp_path)),
                  _sample(torch.from_numpy(_masks(size=9)), PARENTS))


@pytest.mark.parametrize('metric', [EntityMetric, ForestMetric])
def test_missing_ground_truth_is_found_when_built(tmp_path, metric):
    with pytest.raises(FileError, match='nothing.json: No such file'):
        metric(str(tmp_path / 'nothing.json'))


# Pairs of the ground truth: 0>1, 0>2, 1>2.
@pytest.mark.parametrize(
    'kept, parents, precision, recall, accuracy',
    [
        ([0, 1, 2, 3], [-1, 0, 1, -1], 1, 1, 1),
        # 2 hangs from 0: 1>2 is missing.
        ([0, 1, 2, 3], [-1, 0, 0, -1], 1, 2 / 3, 1 / 2),
        # Turned around: 2>1, 2>0, 1>0 are all wrong.
        ([0, 1, 2, 3], [1, 2, -1, -1], 0, 0, 0),
        # 1 is not found: both its pairs are lost, 0>2 stays; the parent of
        # 2 is not there, that of 1 has no child.
        ([0, 2, 3], [-1, 0, -1], 1, 1 / 3, 0),
        # Also 0>3, which is no pair; another order of the masks.
        ([3, 2, 1, 0], [3, 2, 3, -1], 3 / 4, 1, 1),
    ])
def test_ancestor_pairs(tmp_path, kept, parents, precision, recall,
                        accuracy):
    sample = _sample(torch.from_numpy(_masks())[kept], parents)
    for annotated in (PARENTS, None):  # None: from coverage, the same
        found = _evaluate(
            ForestMetric(_truth(tmp_path, parents=annotated)), sample)
        assert found['forest/pairs'] == 3
        assert found['forest/precision'] == pytest.approx(100 * precision)
        assert found['forest/recall'] == pytest.approx(100 * recall,
                                                       abs=1e-3)
        assert found['forest/parent_accuracy'] == pytest.approx(
            100 * accuracy)
        both = precision + recall
        assert found['forest/F1'] == pytest.approx(
            both and 200 * precision * recall / both, abs=1e-3)


def test_masks_that_nobody_annotated_do_not_stand_between(tmp_path):
    # Between 0 and 1 hangs a mask of rows that the truth does not have.
    masks = torch.from_numpy(_masks([*BOXES, (0, 5, 3, 6)]))
    found = _evaluate(
        ForestMetric(_truth(tmp_path)), _sample(masks, [-1, 4, 1, -1, 0]))
    assert found['forest/parent_accuracy'] == 100
    assert found['forest/F1'] == 100


def test_a_duplicate_is_no_second_match(tmp_path):
    # The copy of mask 1, worse by a row, hangs from it: no pair to count.
    masks = _masks([*BOXES, (0, 0, 4, 3)])
    found = _evaluate(
        ForestMetric(_truth(tmp_path)),
        _sample(torch.from_numpy(masks), [-1, 0, 1, -1, 1]))
    assert found['forest/precision'] == found['forest/recall'] == 100


def test_iou_below_the_threshold_is_no_match(tmp_path):
    # 2 is 2 x 2 pixels, the prediction 1 x 2 of them: IoU 0.5, then less.
    boxes = [*BOXES[:2], (0, 0, 1, 2), BOXES[3]]
    sample = _sample(torch.from_numpy(_masks(boxes)), PARENTS)
    truth = _truth(tmp_path)
    assert _evaluate(ForestMetric(truth), sample)['forest/recall'] == 100
    found = _evaluate(ForestMetric(truth, iou_thr=0.51), sample)
    assert found['forest/recall'] == pytest.approx(100 / 3, abs=1e-3)


def test_broken_forest_in_the_ground_truth(tmp_path):
    with pytest.raises(FileError, match='image 7: .*cycle'):
        ForestMetric(_truth(tmp_path, parents=[1, 0, -1, -1]))
    with pytest.raises(FileError, match='annotation 11: its parent_id 14'):
        ForestMetric(_truth(tmp_path, parents=[-1, 4, -1, -1]))
    with pytest.raises(FileError, match='parent_id 10'):
        ForestMetric(_truth(tmp_path, crowd=[0]))


def test_crowds_are_no_part_of_the_forest(tmp_path):
    metric = ForestMetric(_truth(tmp_path, parents=None, crowd=[0]))
    sample = _sample(torch.from_numpy(_masks()), PARENTS)
    assert _evaluate(metric, sample)['forest/pairs'] == 1
