"""tools/analysis_tools/evaluate_masks.py as a user runs it."""
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sohes.evaluation.coco_files import read_evaluation_input
from sohes.utils.errors import FileError

LEFT = [[0, 0, 20, 0, 20, 40, 0, 40]]  # a polygon, 20 x 40 pixels


def compressed(first: int, last: int) -> dict:
    """Whole columns of a 40 x 60 image as compressed RLE."""
    mask = np.zeros((40, 60), np.uint8, order='F')
    mask[:, first:last] = 1
    rle = coco_mask.encode(mask)
    return {'size': rle['size'], 'counts': rle['counts'].decode()}


def ground_truth() -> dict:
    """Two images and one without masks; classes differ, one is a crowd."""
    return {
        'images': [
            {'id': 7, 'file_name': 'a.jpg', 'height': 40, 'width': 60},
            {'id': 3, 'file_name': 'b.jpg', 'height': 40, 'width': 60},
            {'id': 9, 'file_name': 'c.jpg', 'height': 40, 'width': 60}],
        'annotations': [
            {'id': 0, 'image_id': 7, 'category_id': 5, 'area': 800,
             'iscrowd': 0, 'segmentation': LEFT},
            {'id': 1, 'image_id': 7, 'category_id': 9, 'area': 800,
             'iscrowd': 0,  # 20 columns, as runs
             'segmentation': {'size': [40, 60], 'counts': [1600, 800]}},
            {'id': 2, 'image_id': 3, 'category_id': 5, 'area': 1600,
             'iscrowd': 0, 'segmentation': compressed(0, 40)},
            {'id': 4, 'image_id': 3, 'category_id': 5, 'area': 800,
             'iscrowd': 1, 'segmentation': compressed(40, 60)}],
        'categories': [{'id': 5, 'name': 'x'}, {'id': 9, 'name': 'y'}]}


def labels() -> dict:
    """A perfect prediction whose ids are others than the ground truth's."""
    return {
        'images': [{'id': 3, 'file_name': 'a.jpg', 'height': 40, 'width': 60},
                   {'id': 1, 'file_name': 'b.jpg', 'height': 40, 'width': 60}],
        'annotations': [
            {'id': 1, 'image_id': 3, 'category_id': 1, 'score': 0.9,
             'segmentation': compressed(0, 20)},
            {'id': 2, 'image_id': 3, 'category_id': 1, 'score': 0.8,
             'segmentation': compressed(40, 60)},
            {'id': 3, 'image_id': 1, 'category_id': 1, 'score': 0.7,
             'segmentation': compressed(0, 40)}],
        'categories': [{'id': 1, 'name': 'entity'}]}


def results(data: dict) -> list:
    """The annotations as a list of COCO results on the truth's ids."""
    ids = {3: 7, 1: 3}
    return [{**a, 'image_id': ids[a['image_id']]}
            for a in data['annotations']]


@pytest.fixture
def run(tmp_path: Path, run_tool):
    """Runs the tool on two json values; gives the process and the metrics."""
    def run_on(gt, pred, *options):
        for name, data in (('gt', gt), ('pred', pred)):
            text = data if isinstance(data, str) else json.dumps(data)
            (tmp_path / f'{name}.json').write_text(text, encoding='utf-8')
        out = tmp_path / 'out.json'
        process = run_tool(
            'tools/analysis_tools/evaluate_masks.py', '--gt', 'gt.json',
            '--pred', 'pred.json', '--out', out, *options, cwd=tmp_path)
        return process, json.loads(out.read_text()) if out.exists() else None
    return run_on


@pytest.mark.parametrize('pred', [labels(), results(labels())],
                         ids=['dataset', 'results'])
def test_perfect_labels_are_100(run, pred) -> None:
    process, metrics = run(ground_truth(), pred)
    assert process.returncode == 0, process.stderr
    assert metrics['AR@1000'] == metrics['AR_S'] == metrics['AR_M'] == 100
    assert metrics['AR_L'] is None
    assert metrics['AP@1000'] == pytest.approx(100)
    assert metrics['masks/image'] == 1
    assert (metrics['images'], metrics['gt_masks'],
            metrics['gt_crowd_regions']) == (3, 3, 1)
    assert metrics['images_without_predictions'] == 1
    lines = process.stdout.splitlines()
    header = next(i for i, line in enumerate(lines) if 'AR@1000' in line)
    assert lines[header].split() == ['masks/image', 'AR@1000', 'AR_S', 'AR_M',
                                     'AR_L', 'AP@1000']
    assert lines[header + 1].split() == ['1.0', '100.0', '100.0', '100.0',
                                         '-', '100.0']
    assert lines[header + 3].split() == ['AP@100', 'AP50', 'AP75', 'AR@1',
                                         'AR@10', 'AR@100']
    assert lines[header + 7].split() == ['100.0'] * 10


def test_any_kind_of_segmentation_is_read(run) -> None:
    pred = results(labels())
    pred[0]['segmentation'] = LEFT
    pred[1]['segmentation'] = {'size': [40, 60], 'counts': [1600, 800]}
    process, metrics = run(ground_truth(), pred)
    assert process.returncode == 0, process.stderr
    assert metrics['AR@1000'] == 100


def test_no_prediction_is_0(run) -> None:
    for pred in ([], {'images': [], 'annotations': []}):
        process, metrics = run(ground_truth(), pred)
        assert process.returncode == 0, process.stderr
        assert metrics['AR@1000'] == metrics['AP@1000'] == 0
        assert process.stderr == ''


def test_images_that_the_truth_lacks_are_counted(run) -> None:
    pred = labels()
    pred['images'].append({'id': 8, 'file_name': 'z.jpg', 'height': 9,
                           'width': 9})
    pred['annotations'] += [{'image_id': 8, 'score': 1.0,
                             'segmentation': compressed(0, 9)}] * 2
    process, metrics = run(ground_truth(), pred)
    assert metrics['AR@1000'] == 100 and metrics['predictions'] == 3
    assert metrics['ignored_images'] == 1
    assert metrics['ignored_predictions'] == 2
    assert '1 images that are not in the ground truth' in process.stdout


def test_images_without_predictions_can_be_left_out(run) -> None:
    truth = ground_truth()
    truth['images'] += [{'id': 90 + k, 'file_name': f'{k}.png', 'height': 40,
                         'width': 60} for k in range(9)]
    truth['annotations'].append(
        {**truth['annotations'][0], 'id': 99, 'image_id': 90})
    process, metrics = run(truth, labels())
    assert metrics['AR@1000'] < 100
    assert 'warning       images without predictions' in process.stdout
    process, metrics = run(truth, labels(), '--only-predicted')
    assert metrics['AR@1000'] == 100
    assert 'warning' not in process.stdout


def test_max_dets_cuts_and_says_so(run) -> None:
    process, metrics = run(ground_truth(), labels(), '--max-dets', '1')
    assert metrics['AR@1'] == pytest.approx(200 / 3)
    assert metrics['images_over_max_dets'] == 1
    assert '1 images have more than 1 predictions' in process.stdout


def test_labels_without_any_score(run) -> None:
    pred = labels()
    for annotation in pred['annotations']:
        del annotation['score']
    process, metrics = run(ground_truth(), pred)
    assert metrics['AR@1000'] == 100 and 'scores        none' in process.stdout


def change(data, path: list, value) -> dict:
    """The same json with one value replaced; ... takes the key away."""
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return data


@pytest.mark.parametrize('gt, pred, message', [
    ('{', labels(), 'gt.json is not json'),
    (ground_truth(), 'x', 'pred.json is not json'),
    (ground_truth(), '{"images": []}', 'no list "annotations"'),
    ('[]', labels(), 'gt.json is no COCO dataset'),
    ('{"images": [], "annotations": []}', labels(), 'gt.json has no images'),
    (ground_truth(), '[3]', 'result 0 is no object: 3'),
    (change(ground_truth(), ['images', 0, 'height'], ...), labels(),
     "image 'a.jpg' needs a height"),
    (change(ground_truth(), ['images', 1, 'id'], 7), labels(),
     'the image id 7 comes twice'),
    (change(ground_truth(), ['images', 1, 'file_name'], 'a.jpg'), labels(),
     "two images named 'a.jpg'"),
    (change(ground_truth(), ['annotations', 0, 'image_id'], 44), labels(),
     'annotation 0 is on image 44, which the file does not list'),
    (change(ground_truth(), ['annotations', 0, 'segmentation'], []),
     labels(), "annotation 0 on image 'a.jpg': it has no segmentation"),
    (change(ground_truth(), ['annotations', 1, 'segmentation', 'counts'],
            [1600, 801]), labels(), 'runs do not add up to 40 x 60'),
    (ground_truth(), change(labels(), ['images', 0, 'height'], 41),
     "image 'a.jpg' is 60 x 41 pixels, in the ground truth 60 x 40"),
    (ground_truth(),
     change(labels(), ['annotations', 0, 'segmentation', 'size'], [60, 40]),
     "on image 'a.jpg' is 40 x 60 pixels, in the ground truth 60 x 40"),
    (ground_truth(), change(labels(), ['annotations', 0, 'score'],
                            float('nan')),
     "on image 'a.jpg': the score must be a finite number, got nan"),
    (ground_truth(), change(labels(), ['annotations', 0, 'score'], ...),
     'must be a finite number, got None'),
    (ground_truth(), change(labels(), ['annotations', 0, 'image_id'], [1]),
     'annotation 1 is on image [1], which the file does not list'),
    (ground_truth(), change(labels(), ['annotations', 0, 'segmentation'],
                            {'size': [40, 60], 'counts': 3}),
     'neither polygons nor RLE'),
    (ground_truth(), change(results(labels()), [0, 'image_id'], 12345),
     'pred.json: image ids that the ground truth does not have: 12345, '
     'first in result 0 (from 0); the ground truth has 3, 7, 9'),
    (ground_truth(), change(results(labels()), [2, 'score'], float('nan')),
     "pred.json: result 2 on image 'b.jpg': the score must be a finite "
     'number, got nan'),
    (ground_truth(), change(results(labels()), [1, 'segmentation', 'size'],
                            [60, 40]),
     "pred.json: result 1 on image 'a.jpg' is 40 x 60 pixels, in the ground "
     'truth 60 x 40'),
    (ground_truth(), change(results(labels()), [1, 'segmentation', 'counts'],
                            compressed(0, 20)['counts'][:-1]),
     'the RLE is broken or does not fill 40 x 60 pixels'),
    (ground_truth(), change(results(labels()), [1, 'segmentation', 'counts'],
                            [-1600, 4000]), 'runs must be whole numbers'),
    (ground_truth(), change(results(labels()), [0, 'segmentation'],
                            [[0, 0, 20]]),
     'a polygon must be at least three x, y pairs, got [0, 0, 20]'),
    (ground_truth(), change(results(labels()), [0, 'segmentation'],
                            [[0, 0, 20, 0, 20, float('nan')]]),
     'a polygon has the coordinate nan'),
    (ground_truth(), [{**r, 'id': i, 'parent_id': i - 1 if i else None}
                      for i, r in enumerate(results(labels()))],
     'annotation 2: its parent_id 1 is no annotation of the same image'),
    (change(ground_truth(), ['images', 0, 'file_name'], 3), labels(),
     'needs a text "file_name", got 3'),
    (change(ground_truth(), ['images', 0, 'height'], 2**33), labels(),
     "image 'a.jpg': it has 515396.1 million pixels, more than"),
    (change(ground_truth(), ['annotations', 1, 'segmentation', 'counts'],
            'P' * 20), labels(), 'the RLE is broken or does not fill'),
    ('[' * 100000, labels(), 'gt.json cannot be read: its brackets are'),
    (ground_truth(), change(labels(), ['annotations', 0, 'parent_id'], [1]),
     'its parent_id [1] is no annotation of the same image'),
    (change(ground_truth(), ['annotations', 0, 'area'], 'big'), labels(),
     "annotation 0: the area must be a number of pixels, got 'big'"),
    (ground_truth(),
     {'images': [{'id': 7, 'file_name': 'q.jpg'}], 'annotations': []},
     "no image is in the ground truth: it has 'q.jpg', the ground truth "
     "'a.jpg', 'b.jpg', 'c.jpg'"),
    (ground_truth(), change(labels(), ['images', 1, 'file_name'], 'x/a.jpg'),
     "'x/a.jpg' and 'a.jpg' are both image 'a.jpg'"),
])
def test_bad_input_is_one_sentence(tmp_path, gt, pred, message) -> None:
    paths = []
    for name, data in (('gt', gt), ('pred', pred)):
        paths.append(tmp_path / f'{name}.json')
        paths[-1].write_text(
            data if isinstance(data, str) else json.dumps(data))
    with pytest.raises(FileError) as error:
        read_evaluation_input(*paths)
    assert message in str(error.value)
    assert '\n' not in str(error.value)


def test_as_a_process_it_prints_one_line_and_ends_with_2(
        repo_root, tmp_path) -> None:
    process = subprocess.run(
        [sys.executable,
         str(repo_root / 'tools/analysis_tools/evaluate_masks.py'),
         '--gt', 'nowhere.json', '--pred', 'pred.json'],
        capture_output=True, text=True, cwd=tmp_path)
    assert process.returncode == 2 and process.stdout == ''
    assert process.stderr == 'error: nowhere.json: No such file or directory\n'


def test_bad_input_ends_with_exit_code_2(run, tmp_path) -> None:
    process, metrics = run(
        ground_truth(), change(labels(), ['images', 0, 'height'], 41))
    assert process.returncode == 2 and metrics is None
    assert process.stderr.startswith('error: pred.json: image')
    assert len(process.stderr.splitlines()) == 1 and process.stdout == ''
    process, _ = run(ground_truth(), labels(), '--gt', 'nowhere.json')
    assert process.returncode == 2
    assert process.stderr == 'error: nowhere.json: No such file or directory\n'
    assert run(ground_truth(), labels(),
               '--max-dets', '0')[0].returncode == 2


def read(tmp_path: Path, gt: dict, pred) -> list[int]:
    """Predictions that each image of the truth gets, by rising id."""
    for name, data in (('gt', gt), ('pred', pred)):
        (tmp_path / f'{name}.json').write_text(json.dumps(data))
    data = read_evaluation_input(tmp_path / 'gt.json', tmp_path / 'pred.json')
    return [len(image.rles) for image in data.images]


def test_names_match_by_the_end_of_the_path(tmp_path) -> None:
    pred = labels()
    pred['images'][0]['file_name'] = 'val\\a.jpg'
    pred['images'][1]['file_name'] = './b.jpg'
    # Ids 3, 7, 9 are b, a, c.
    assert read(tmp_path, ground_truth(), pred) == [1, 2, 0]


def test_two_names_that_end_alike_are_refused(tmp_path) -> None:
    gt, pred = ground_truth(), labels()
    gt['images'][0]['file_name'] = 'x/a.jpg'
    gt['images'][2]['file_name'] = 'y/a.jpg'
    with pytest.raises(FileError, match="'a.jpg' could be any of 'x/a.jpg', "
                       "'y/a.jpg'"):
        read(tmp_path, gt, pred)
    pred['images'][0]['file_name'] = 'y/a.jpg'
    assert read(tmp_path, gt, pred) == [1, 0, 2]


def test_without_names_ids_match(tmp_path) -> None:
    pred = labels()
    for image in pred['images']:
        del image['file_name']
    pred['images'][1]['id'] = pred['annotations'][2]['image_id'] = 9
    assert read(tmp_path, ground_truth(), pred) == [2, 0, 1]


def test_real_ground_truth_is_its_own_perfect_prediction(
        run, shared_data) -> None:
    path = shared_data / 'bsds500' / 'entities_val.json'
    process, metrics = run('{}', '{}', '--gt', str(path), '--pred', str(path))
    assert process.returncode == 0, process.stderr
    assert [metrics[k] for k in ('AR@1000', 'AR_S', 'AR_M', 'AR_L')] == [
        100, 100, 100, 100]
    assert metrics['masks/image'] == 56.31
