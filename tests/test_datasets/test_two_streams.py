"""Two image batches from one sampler, and a folder without labels."""
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope

from sohes.apis.run_config import read_config
from sohes.datasets import ResumableSampler
from sohes.registry import DATASETS
from tests.tiny_entities import make_entities

ROOT = Path(__file__).resolve().parents[2]
BRANCHES = ['sup', 'unsup_student', 'unsup_teacher']


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    return make_entities(tmp_path_factory.mktemp('data') / 'entities')


def read(data: Path) -> Config:
    init_default_scope('mmdet')
    return read_config(
        str(ROOT / 'configs/tiny/sohes_phase3_tiny.py'),
        dict(data_root=f'{data}/'))


@pytest.fixture(scope='module')
def pairs(data):
    return DATASETS.build(read(data).train_dataloader.dataset)


def draws(dataset, count: int, skip: int = 0) -> list:
    sampler = ResumableSampler(dataset, seed=3)
    sampler.skip(skip)
    return list(islice(sampler, count))


def test_branches_and_what_is_in_them(pairs):
    assert len(pairs) == 6
    sample = pairs[draws(pairs, 1)[0]]
    assert sorted(sample['inputs']) == BRANCHES
    assert sorted(sample['data_samples']) == BRANCHES
    found = sample['data_samples']
    assert len(found['sup'].gt_instances.masks) > 0
    assert not len(found['unsup_student'].gt_instances)
    assert (found['unsup_student'].img_path ==
            found['unsup_teacher'].img_path)
    for branch in BRANCHES:
        assert found[branch].homography_matrix.shape == (3, 3)
        assert sample['inputs'][branch].dtype == torch.uint8
        assert tuple(sample['inputs'][branch].shape[1:]) == (
            found[branch].img_shape)
    together = pseudo_collate([sample, sample])
    assert len(together['inputs']['sup']) == 2
    assert len(together['data_samples']['unsup_teacher']) == 2


def test_a_sample_depends_on_its_draw_alone(pairs):
    later = [pairs[draw] for draw in draws(pairs, 3, skip=4)]
    np.random.seed(5)
    whole = [pairs[draw] for draw in draws(pairs, 7)][4:]
    for one, two in zip(later, whole):
        for branch in BRANCHES:
            assert torch.equal(one['inputs'][branch], two['inputs'][branch])


def test_i1_is_the_same_with_and_without_i2(data, pairs):
    alone = DATASETS.build(read(data).train_dataloader.dataset.labeled)
    for draw in draws(alone, 3):
        assert torch.equal(alone[draw]['inputs'],
                           pairs[draw]['inputs']['sup'])


def test_i2_is_any_image_and_not_i1s_random_numbers(pairs):
    names, differ = set(), 0
    for draw in draws(pairs, 40):
        found = pairs[draw]['data_samples']
        names.add(found['unsup_teacher'].img_path)
        same = found['sup'].img_path == found['unsup_teacher'].img_path
        differ += same and not np.array_equal(
            found['sup'].homography_matrix,
            found['unsup_student'].homography_matrix)
    assert len(names) == 6
    assert differ > 0
    # An index without a draw works too.
    assert sorted(pairs[2]['inputs']) == BRANCHES


def test_images_of_a_json_as_i2(data):
    config = read(data).train_dataloader.dataset
    config.unlabeled.update(type='sohes.EntityDataset',
                            ann_file='labels.json')
    found = DATASETS.build(config)
    sample = found[draws(found, 1)[0]]['data_samples']
    assert not len(sample['unsup_teacher'].gt_instances)
    assert sample['unsup_teacher'].img_id in range(1, 7)


def test_a_folder_without_images(data, tmp_path):
    config = read(data).train_dataloader.dataset.unlabeled
    assert len(DATASETS.build(config)) == 6
    config.data_prefix.img = str(tmp_path)
    with pytest.raises(ValueError, match='holds no image'):
        DATASETS.build(config)


def test_images_that_are_left_out_of_both(data, tmp_path):
    (tmp_path / 'aside.json').write_text('["1.png", "4.png"]')
    config = read(data).train_dataloader.dataset
    for stream in (config.labeled, config.unlabeled):
        stream.exclude_file = str(tmp_path / 'aside.json')
    found = DATASETS.build(config)
    left = {'0.png', '2.png', '3.png', '5.png'}
    for stream in (found.labeled, found.unlabeled):
        names = {Path(stream.get_data_info(k)['img_path']).name
                 for k in range(len(stream))}
        assert names == left


def test_a_configuration_written_to_a_work_dir_augments_alike(
        data, pairs, tmp_path):
    read(data).dump(tmp_path / 'dumped.py')
    config = Config.fromfile(tmp_path / 'dumped.py')
    again = DATASETS.build(config.train_dataloader.dataset)
    for draw in draws(pairs, 3):
        for branch in BRANCHES:
            assert torch.equal(pairs[draw]['inputs'][branch],
                               again[draw]['inputs'][branch])
