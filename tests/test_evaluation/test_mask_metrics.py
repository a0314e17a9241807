"""The metrics against pycocotools itself, and against hand counts."""
import contextlib
import copy
import io

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sohes.evaluation import ImageMasks, evaluate_masks

SIZE = (150, 170)


def encode(mask: np.ndarray) -> dict:
    """(H, W) bool as a compressed RLE."""
    return coco_mask.encode(np.asfortranarray(mask, np.uint8))


def box(y: int, x: int, height: int, width: int) -> dict:
    """A filled rectangle, cut at the image's border."""
    mask = np.zeros(SIZE, bool)
    mask[max(y, 0):y + height, max(x, 0):x + width] = True
    return encode(mask)


def random_image(rng: np.random.Generator, most: int = 60) -> ImageMasks:
    """Boxes, and up to ``most`` predictions near them or anywhere."""
    image = ImageMasks()
    boxes = []
    for _ in range(rng.integers(0, 15)):
        boxes.append((*rng.integers(0, SIZE), *rng.integers(1, 110, 2)))
        image.gt_rles.append(box(*boxes[-1]))
        image.gt_areas.append(int(coco_mask.area(image.gt_rles[-1])))
        image.gt_crowd.append(rng.random() < 0.2)
    for _ in range(rng.integers(0, most)):
        where = (*rng.integers(0, SIZE), *rng.integers(1, 110, 2))
        if boxes and rng.random() < 0.8:
            where = (np.array(boxes[rng.integers(len(boxes))])
                     + rng.integers(-6, 7, 4)).tolist()
            where = (*where[:2], max(where[2], 1), max(where[3], 1))
        image.rles.append(box(*where))
        image.areas.append(int(coco_mask.area(image.rles[-1])))
        # Ties too.
        image.scores.append(round(rng.random(), int(rng.integers(1, 9))))
    return image


def pycocotools_stats(images: list[ImageMasks],
                      max_dets: int) -> list[float]:
    """What :func:`our_stats` has, by pycocotools alone; -1 for none."""
    limits = [*(k for k in (1, 10, 100) if k < max_dets), max_dets]
    rows = [{'id': i + 1, 'height': SIZE[0], 'width': SIZE[1]}
            for i in range(len(images))]
    truth, predictions = [], []
    for i, image in enumerate(images):
        for rle, area, crowd in zip(image.gt_rles, image.gt_areas,
                                    image.gt_crowd):
            truth.append({
                'id': len(truth) + 1, 'image_id': i + 1, 'category_id': 1,
                'segmentation': rle, 'area': area, 'iscrowd': int(crowd)})
        for rle, score in zip(image.rles, image.scores):
            predictions.append({'image_id': i + 1, 'category_id': 1,
                                'segmentation': rle, 'score': score})
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = copy.deepcopy({
            'images': rows, 'annotations': truth,
            'categories': [{'id': 1, 'name': 'entity'}], 'info': {}})
        gt.createIndex()
        # loadRes reads the first row to find the kind of result.
        results = gt.loadRes(predictions) if predictions else COCO()
        evaluator = COCOeval(gt, results, 'segm')
        evaluator.params.maxDets = list(limits)
        evaluator.evaluate()
        evaluator.accumulate()
    recall = evaluator.eval['recall'][:, 0]  # (IoUs, areas, limits)
    precision = evaluator.eval['precision'][:, :, 0, 0]
    hundred = limits.index(min(100, limits[-1]))
    return [float(np.mean(v[v > -1])) if (v > -1).any() else -1 for v in (
        *recall[:, 0].T, *recall[:, 1:, -1].T, precision[..., hundred],
        precision[..., -1], precision[0, :, -1], precision[5, :, -1],
        *recall[:, 0, -1:])]


def our_stats(images: list[ImageMasks], max_dets: int) -> list[float]:
    """The same figures by this package."""
    found = evaluate_masks(images, max_dets)
    assert [round(100 * iou) for iou in found.recalls] == list(
        range(50, 100, 5))
    return [-1 if v is None else v for v in (
        *found.ar_at.values(), found.ar_small, found.ar_medium,
        found.ar_large, found.ap_at[min(100, max_dets)], found.ap,
        found.ap50, found.ap75, *found.recalls.values())]


@pytest.mark.parametrize('seed', range(200))
def test_equal_to_pycocotools_to_the_last_bit(seed) -> None:
    rng = np.random.default_rng(seed)
    max_dets = (3, 25, 110, 1000)[seed % 4]
    images = [random_image(rng, 130 if max_dets == 110 else 40)
              for _ in range(rng.integers(1, 4))]
    images.insert(int(rng.integers(len(images) + 1)), ImageMasks())
    assert our_stats(images, max_dets) == pycocotools_stats(images, max_dets)


def test_equal_without_predictions_or_without_truth(rng) -> None:
    images = [random_image(rng) for _ in range(4)]
    for image in images:
        image.rles, image.scores, image.areas = [], [], []
    assert our_stats(images, 100) == pycocotools_stats(images, 100)
    assert our_stats(images, 100)[0] == 0
    images = [random_image(rng) for _ in range(4)]
    for image in images:
        image.gt_rles, image.gt_areas, image.gt_crowd = [], [], []
    assert our_stats(images, 100) == [-1] * 20
    assert evaluate_masks(images).ar is None


def one_image(gt: list[dict], predictions: list[dict]) -> ImageMasks:
    """Scores fall in the order given."""
    return ImageMasks(
        gt, [int(coco_mask.area(r)) for r in gt], [False] * len(gt),
        predictions, [1 - i / 100 for i in range(len(predictions))],
        [int(coco_mask.area(r)) for r in predictions])


def test_perfect_predictions_recall_everything() -> None:
    masks = [box(0, 0, 10, 10), box(20, 20, 50, 50), box(0, 0, 150, 170)]
    metrics = evaluate_masks([one_image(masks, masks)])
    assert (metrics.ar, metrics.ar_small, metrics.ar_medium,
            metrics.ar_large, metrics.ap) == (1, 1, 1, 1, 1)
    found = metrics.percentages()
    assert found.pop('masks/image') == 3
    # With three masks to find the best one is a third.
    assert found.pop('AR@1') == pytest.approx(100 / 3)
    assert set(found.values()) == {100}
    assert list(found) == [
        'AR@1000', 'AR_S', 'AR_M', 'AR_L', 'AP@1000', 'AP@100', 'AP50',
        'AP75', 'AR@10', 'AR@100',
        *(f'R@0.{p}' for p in range(50, 100, 5))]


def test_a_square_shifted_by_three_pixels() -> None:
    # 9 of 12 columns are shared: IoU 108 / 180 = 0.6, which the thresholds
    # 0.5, 0.55 and 0.6 reach.
    metrics = evaluate_masks([one_image([box(20, 20, 12, 12)],
                                        [box(20, 23, 12, 12)])])
    assert metrics.ar == pytest.approx(0.3, abs=1e-15)
    assert list(metrics.recalls.values()) == [1] * 3 + [0] * 7
    assert metrics.ap50 == pytest.approx(1) and metrics.ap75 == 0


def test_recall_by_hand() -> None:
    # IoU 0.8: found at 0.5, 0.55 ... 0.8, which are 7 of 10 thresholds;
    # a second mask is never found, a third has no prediction at all.
    truth = [box(0, 0, 10, 100), box(50, 0, 10, 10), box(100, 0, 40, 40)]
    found = [box(0, 0, 8, 100), box(56, 0, 10, 10)]
    metrics = evaluate_masks([one_image(truth, found)], max_dets=5)
    assert metrics.ar == pytest.approx(0.7 / 3)
    # 1000 and 100 pixels are small, 1600 is medium, none is large.
    assert metrics.ar_small == pytest.approx(0.35)
    assert metrics.ar_medium == 0
    assert metrics.ar_large is None
    assert metrics.percentages()['AR_L'] is None
    assert metrics.masks_per_image == 2


def test_only_the_best_predictions_count() -> None:
    truth = [box(0, 0, 20, 20), box(50, 50, 20, 20)]
    image = one_image(truth, [box(0, 100, 9, 9), *truth])
    assert evaluate_masks([image], max_dets=1).ar == 0
    assert evaluate_masks([image], max_dets=2).ar == 0.5
    assert evaluate_masks([image], max_dets=3).ar == 1


def test_crowds_are_neither_recalled_nor_wrong() -> None:
    entity, crowd = box(0, 0, 20, 20), box(50, 0, 100, 170)
    inside = [box(60 + 20 * i, 10, 10, 10) for i in range(3)]
    image = one_image([entity, crowd], [*inside, entity])
    image.gt_crowd[1] = True
    metrics = evaluate_masks([image])
    assert metrics.ar == 1 and metrics.ap == pytest.approx(1)
    image.gt_crowd[1] = False
    assert evaluate_masks([image]).ar == 0.5


def test_nothing_to_evaluate_is_refused() -> None:
    with pytest.raises(ValueError, match='no image'):
        evaluate_masks([])
    with pytest.raises(ValueError, match='max_dets must be at least 1'):
        evaluate_masks([ImageMasks()], max_dets=0)
