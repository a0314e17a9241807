import json
import os
import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from PIL import Image

from sohes.datasets import EntityDataset, entity_dataset
from sohes.datasets.samplers import Draw
from sohes.utils.errors import FileError, ImageError
from tests.test_datasets.coco_files import (
    annotation,
    box_mask,
    dataset,
    write,
    write_photo,
)

LOAD = [dict(type='sohes.LoadEntityImage'), dict(type='sohes.LoadEntities')]
PACK = dict(type='sohes.PackEntityInputs',
            meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape'))
AUGMENT = [
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomResize', scale=(64, 64), ratio_range=(0.5, 2.0),
         keep_ratio=True),
    dict(type='RandomCrop', crop_size=(48, 48), recompute_bbox=True,
         allow_negative_crop=True),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(0.5, 0.5), by_mask=True,
         min_gt_mask_area=4, keep_empty=False),
    dict(type='sohes.EntityCopyPaste', min_visible=0.2),
    dict(type='PhotoMetricDistortion'),
]
SIZES = {1: (61, 83), 2: (40, 40), 3: (97, 50)}


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmdet')


@pytest.fixture
def folder(tmp_path):
    """Image 1: whole, part, part of it, crowd; image 2: two; 3: none."""
    for number, (height, width) in SIZES.items():
        write_photo(tmp_path / f'{number}.png', height, width, number)
    one, two = (61, 83), (40, 40)
    write(tmp_path / 'x.json', dataset(
        [(k, f'{k}.png', *size) for k, size in SIZES.items()],
        [annotation(1, 1, box_mask(*one, 5, 5, 60, 50), score=0.1),
         annotation(2, 1, box_mask(*one, 10, 10, 40, 40), score=0.2,
                    parent_id=1, category_id=7),
         annotation(3, 1, box_mask(*one, 15, 15, 25, 25), score=0.9,
                    parent_id=2),
         annotation(4, 1, box_mask(*one, 0, 0, 83, 61), iscrowd=1),
         annotation(5, 2, box_mask(*two, 0, 0, 20, 20)),
         annotation(6, 2, box_mask(*two, 20, 20, 40, 40))]))
    return tmp_path


def build(folder, **kwargs) -> EntityDataset:
    options = dict(
        data_root=str(folder), ann_file='x.json', data_prefix=dict(img='.'),
        pipeline=[*LOAD, PACK])
    return EntityDataset(**dict(options, **kwargs))


def test_a_sample_as_the_head_wants_it(folder):
    data = build(folder)
    assert len(data) == 3
    sample = data[0]
    pixels = np.asarray(Image.open(folder / '1.png'))
    assert (sample['inputs'].numpy() == pixels.transpose(2, 0, 1)).all()
    found = sample['data_samples'].gt_instances
    assert found.labels.tolist() == [0, 0, 0]
    assert found.bboxes.tensor.tolist() == [
        [5, 5, 60, 50], [10, 10, 40, 40], [15, 15, 25, 25]]
    assert found.masks.areas().tolist() == [55 * 45, 900, 100]
    assert found.ancestors.tolist() == [
        [False, True, True], [False, False, True], [False, False, False]]
    assert sample['data_samples'].img_id == 1
    assert sample['data_samples'].ori_shape == (61, 83)


@pytest.fixture
def related(folder):
    """Image 1's whole is no ancestor of the part's part: the json says."""
    data = json.loads((folder / 'x.json').read_text())
    for row, above in zip(data['annotations'], ([], [1], [2], [], [], [])):
        row['ancestor_ids'] = above
    write(folder / 'x.json', data)
    return folder


@pytest.mark.parametrize(('options', 'pairs'), [
    (dict(), [[0, 1], [1, 2]]),
    (dict(ancestors='closure'), [[0, 1], [0, 2], [1, 2]]),
    (dict(max_masks=2), [[0, 1]]),
    (dict(max_masks=2, ancestors='closure'), [[0, 1]]),
    (dict(categories=['entity']), []),
    (dict(categories=['entity'], ancestors='closure'), [[0, 1]]),
    (dict(pipeline=[*LOAD, dict(type='RandomFlip', prob=1.0),
                    dict(type='Resize', scale=(166, 122)),
                    dict(type='sohes.EntityCopyPaste', prob=0.), PACK]),
     [[0, 1], [1, 2]]),
], ids=str)
def test_the_relation_reaches_the_loss(related, options, pairs):
    found = build(related, **options)[0]['data_samples'].gt_instances
    assert found.ancestors.nonzero().tolist() == pairs


def test_a_photo_that_a_transform_chokes_on_is_named(folder):
    data = build(folder, pipeline=[
        *LOAD, dict(type='Resize', scale_factor=0.001), PACK])
    with pytest.raises(ImageError, match=r'/1\.png: the pipeline of the'):
        data[0]


def test_the_relation_after_copy_paste(related):
    pipeline = [*LOAD, dict(type='RandomFlip', prob=0.5),
                dict(type='sohes.EntityCopyPaste'), PACK]
    data = build(related, indices=1, pipeline=pipeline)
    np.random.seed(1)
    pasted = 0
    for _ in range(20):
        found = data[0]['data_samples'].gt_instances
        areas = found.masks.areas().tolist()
        # The whole has 2475 pixels, the innermost 100, and it is its part's.
        for above, below in found.ancestors.nonzero().tolist():
            assert not (areas[above] > 900 and areas[below] == 100)
        pasted += len(found) > 3
    assert pasted


def test_scores_stay_with_their_masks(tmp_path):
    """Each mask is painted with a grey of 100 times its score."""
    rows = []
    for image in (1, 2):
        photo = np.zeros((40, 60, 3), np.uint8)
        for cell in range(6):
            left, top = cell % 3 * 20, cell // 3 * 20
            mask = box_mask(40, 60, left, top, left + 18, top + 17)
            grey = 50 * (image - 1) + 5 * cell + 7
            photo[mask] = grey
            rows.append(annotation(len(rows), image, mask, score=grey / 100))
        Image.fromarray(photo).save(tmp_path / f'{image}.png')
    write(tmp_path / 'x.json', dataset(
        [(k, f'{k}.png', 40, 60) for k in (1, 2)], rows))
    data = build(tmp_path, max_masks=5, pipeline=[
        *LOAD, dict(type='RandomFlip', prob=0.5),
        dict(type='RandomCrop', crop_size=(30, 45), recompute_bbox=True),
        dict(type='sohes.EntityCopyPaste'), PACK])
    seen = []
    for draw in range(20):
        sample = data[Draw(draw % 2, (0, draw))]
        found = sample['data_samples'].gt_instances
        assert found.scores.dtype == torch.float32
        for mask, score in zip(found.masks.dense(), found.scores.tolist()):
            greys = sample['inputs'][0][mask]
            assert (greys == round(100 * score)).all()
        # The first photo's are up to 0.32, the second's from 0.57.
        seen.append({score > 0.5 for score in found.scores.tolist()})
    assert {False, True} in seen  # one was pasted on the other


def test_scores_of_ground_truth_are_1(folder):
    data = build(folder)
    scores = [data[k]['data_samples'].gt_instances.scores.tolist()
              for k in range(3)]
    assert scores == [pytest.approx([0.1, 0.2, 0.9]), [1, 1], []]


def test_that_the_json_has_no_relation_is_said_once(folder, monkeypatch):
    said = []
    monkeypatch.setattr(entity_dataset, 'print_log',
                        lambda text, *_: said.append(text))
    data = build(folder)
    for k in range(3):
        data[k]
    assert len(said) == 1 and '2 of 3 images have parent_id without' in said[0]
    build(folder, ancestors='closure')
    build(folder, test_mode=True)
    assert len(said) == 1


def test_an_image_without_masks(folder):
    found = build(folder)[2]['data_samples'].gt_instances
    assert len(found) == 0
    assert found.masks.bits.shape == (0, 97, 7)
    assert found.ancestors.shape == (0, 0)
    assert found.bboxes.shape == (0, 4)


@pytest.mark.parametrize(('options', 'ids', 'parents'), [
    (dict(max_masks=1), [3], [-1]),
    (dict(max_masks=2), [2, 3], [-1, 0]),
    (dict(max_masks=1, keep='largest'), [1], [-1]),
    (dict(max_masks=2, keep='largest'), [1, 2], [-1, 0]),
    (dict(categories=['entity']), [1, 3], [-1, 0]),
    (dict(categories=['dog']), [2], [-1]),
], ids=str)
def test_some_of_the_masks(folder, options, ids, parents):
    data = build(folder, **options)
    records = data.get_data_info(0)['entities'].records
    assert records['id'].tolist() == ids
    assert records['parent'].tolist() == parents
    areas = {1: 55 * 45, 2: 900, 3: 100}
    found = data[0]['data_samples'].gt_instances.masks.areas().tolist()
    assert found == [areas[k] for k in ids]


def test_some_of_the_images(folder):
    def ids(data):
        return [data.get_data_info(k)['img_id'] for k in range(len(data))]
    assert ids(build(folder, filter_cfg=dict(min_masks=1))) == [1, 2]
    assert ids(build(folder, filter_cfg=dict(min_masks=3))) == [1]
    assert ids(build(folder, filter_cfg=dict(min_masks=1),
                     categories=['dog'])) == [1]
    assert ids(build(folder, filter_cfg=dict(min_masks=1),
                     test_mode=True)) == [1, 2, 3]
    assert ids(build(folder, indices=2)) == [1, 2]
    assert ids(build(folder, indices=[2, 0])) == [3, 1]
    whole = build(folder)
    assert ids(whole.get_subset(-1)) == [3]
    assert len(whole) == 3
    assert whole.get_data_info(-1)['img_id'] == 3
    assert ids(build(folder, lazy_init=True)) == [1, 2, 3]
    path = folder / 'aside.json'
    path.write_text('["2.png", "no.png"]')
    aside = dict(exclude_file='aside.json')
    assert ids(build(folder, exclude_file=str(path))) == [1, 3]
    assert ids(build(folder, **aside)) == [1, 3]
    assert ids(build(folder, **aside, filter_cfg=dict(min_masks=1))) == [1]
    assert ids(build(folder, **aside, indices=1)) == [1]


@pytest.mark.parametrize(('options', 'words'), [
    (dict(categories=['cat']), "no category 'cat'; it has dog, entity"),
    (dict(metainfo=dict(classes=('person', 'dog'))), 'categories='),
    (dict(filter_cfg=dict(min_masks=9)), 'no image is left of 3'),
    (dict(filter_cfg=dict(min_size=9)), 'min_size'),
    (dict(max_masks=0), 'max_masks'),
    (dict(keep='best'), 'keep'),
    (dict(check_images='some'), 'check_images'),
    (dict(ancestors='tree'), "'pairs' or 'closure', got 'tree'"),
    (dict(indices=[3]), 'index 3 of 3'),
    (dict(data_prefix=dict(img='no')), r'no/1.png of .*x.json does not'),
    (dict(exclude_file='no.json'), r'exclude_file: \S*no.json: .*No such'),
    (dict(exclude_file='x.json'), 'exclude_file: .*x.json: expected a json'),
    (dict(ann_file='y.json'), 'y.json does not exist'),
], ids=str)
def test_faults_before_training(folder, options, words):
    with pytest.raises(ValueError, match=words):
        build(folder, **options)


def test_missing_images(folder):
    os.unlink(folder / '2.png')
    data = build(folder)
    assert len(build(folder, check_images=None)) == 3
    with pytest.raises(FileError, match=r'2.png of .*x.json'):
        build(folder, check_images='all')
    with pytest.raises(ImageError, match='2.png: does not exist'):
        data[1]


def test_an_image_of_another_size(folder):
    write_photo(folder / '2.png', 40, 41)
    with pytest.raises(ValueError, match='2.png is 40 x 41 .* 40 x 40'):
        build(folder)[1]


def test_upright(folder):
    photo = Image.open(folder / '1.png')
    exif = photo.getexif()
    exif[0x0112] = 6  # turned: stored 83 x 61 pixels for 61 x 83
    upright = np.asarray(photo)
    Image.fromarray(np.rot90(upright).copy()).save(
        folder / '1.png', exif=exif)
    sample = build(folder)[0]
    assert (sample['inputs'].numpy() == upright.transpose(2, 0, 1)).all()


def same(a: dict, b: dict) -> bool:
    a_masks = a['data_samples'].gt_instances.masks.bits
    b_masks = b['data_samples'].gt_instances.masks.bits
    return (torch.equal(a['inputs'], b['inputs'])
            and torch.equal(a_masks, b_masks))


def test_augmented_by_the_number_of_the_draw_alone(folder):
    data = build(folder, pipeline=[*LOAD, *AUGMENT, PACK])
    draws = [Draw(k % 3, (4, k)) for k in range(12)]
    first = [data[draw] for draw in draws]
    random.seed(9), np.random.seed(9), torch.manual_seed(9)
    before = torch.get_rng_state(), np.random.random(), random.random()
    random.seed(9), np.random.seed(9), torch.manual_seed(9)
    other = pickle.loads(pickle.dumps(data))
    again = [other[draw] for draw in reversed(draws)][::-1]
    # The generators outside go on as if nothing had happened.
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (np.random.random(), random.random())
    assert all(same(a, b) for a, b in zip(first, again))
    assert not same(first[0], first[3])
    assert not same(first[0], data[Draw(0, (5, 0))])
    for sample in first:
        found = sample['data_samples'].gt_instances
        count = len(found)
        assert found.ancestors.shape == (count, count)
        assert (found.masks.areas() > 0).all()
        assert found.masks.bits.shape[1] == sample['inputs'].shape[1]
        assert found.masks.width == sample['inputs'].shape[2]


@pytest.mark.parametrize('workers', [0, 2])
def test_the_runners_loader(folder, workers):
    loader = Runner.build_dataloader(dict(
        batch_size=2, num_workers=workers,
        sampler=dict(type='sohes.ResumableSampler'),
        dataset=dict(
            type='sohes.EntityDataset', data_root=str(folder),
            ann_file='x.json', data_prefix=dict(img=''),
            pipeline=[*LOAD, *AUGMENT, PACK]),
        collate_fn=dict(type='pseudo_collate')), seed=3)
    alone = build(folder, pipeline=[*LOAD, *AUGMENT, PACK])
    batch = next(iter(loader))
    draws = iter(loader.sampler)
    for k in range(2):
        expected = alone[next(draws)]
        found = dict(inputs=batch['inputs'][k],
                     data_samples=batch['data_samples'][k])
        assert same(expected, found)


def test_a_wrapper_of_mmdet(folder):
    from mmdet.registry import DATASETS
    data = DATASETS.build(dict(
        type='MultiImageMixDataset',
        dataset=dict(type='sohes.EntityDataset', data_root=str(folder),
                     ann_file='x.json', data_prefix=dict(img=''),
                     indices=2, pipeline=LOAD),
        pipeline=[dict(type='sohes.EntityCopyPaste'), PACK]))
    np.random.seed(0)
    counts = [len(data[k % 2]['data_samples'].gt_instances)
              for k in range(20)]
    assert max(counts) > 3
