"""The metrics in two processes beside one."""
import json

import numpy as np
import pytest
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.structures import BaseDataElement, InstanceData
from pycocotools import mask as coco_mask

from sohes.evaluation.entity_metric import EntityMetric
from sohes.evaluation.forest_metric import ForestMetric
from sohes.utils.dist import close_dist

IMAGES = 5


def _rle(top: int, left: int, side: int) -> dict:
    mask = np.zeros((40, 50), np.uint8, order='F')
    mask[top:top + side, left:left + side] = 1
    return coco_mask.encode(mask)


def _truth(path) -> None:
    """Two nested squares in each image."""
    annotations = []
    for image in range(IMAGES):
        for side, parent in ((30, None), (10 + image, 2 * image + 1)):
            rle = _rle(2, 3, side)
            annotations.append(dict(
                id=len(annotations) + 1, image_id=image, category_id=1,
                iscrowd=0, area=side * side, parent_id=parent,
                segmentation=dict(rle, counts=rle['counts'].decode())))
    path.write_text(json.dumps(dict(
        images=[dict(id=i, height=40, width=50) for i in range(IMAGES)],
        annotations=annotations)))


def _sample(image: int) -> BaseDataElement:
    """Worse from image to image; scores tie between images."""
    found = InstanceData(
        masks=[_rle(2, 3 + image, 30), _rle(2, 3, 10), _rle(20, 20, 9)],
        scores=np.array([0.9, 0.5, 0.5 + image / 10]),
        parents=np.array([-1, 0 if image % 2 else -1, -1]))
    return BaseDataElement(
        pred_instances=found, metainfo=dict(img_id=image))


def _run(rank: int, world: int, folder: str) -> None:
    if world > 1:
        dist.init_process_group(
            'gloo', init_method=f'file://{folder}/meet', rank=rank,
            world_size=world)
    result = {}
    # mmengine's sampler fills up the last process with a first image.
    images = [i % IMAGES for i in range(rank, -(-IMAGES // world) * world,
                                        world)]
    for metric in (EntityMetric(f'{folder}/truth.json',
                                outfile=f'{folder}/found{world}.json'),
                   ForestMetric(f'{folder}/truth.json')):
        for image in images:
            metric.process(None, [_sample(image).to_dict()])
        result.update(metric.evaluate(IMAGES))
    with open(f'{folder}/metrics{world}.{rank}', 'w') as file:
        json.dump(result, file)
    close_dist()


@pytest.mark.slow
def test_two_processes_count_what_one_counts(tmp_path) -> None:
    _truth(tmp_path / 'truth.json')
    _run(0, 1, str(tmp_path))
    mp.spawn(_run, (2, str(tmp_path)), nprocs=2)
    one, first, second = (
        (tmp_path / f'metrics{name}').read_text()
        for name in ('1.0', '2.0', '2.1'))
    assert one == first == second
    assert 0 < json.loads(one)['entity/AR@1000'] < 100
    assert json.loads(one)['forest/parent_accuracy'] == 40
    found = (tmp_path / 'found1.json').read_text()
    assert found == (tmp_path / 'found2.json').read_text()
    rows = json.loads(found)
    assert [row['id'] for row in rows] == list(range(1, 3 * IMAGES + 1))
    assert [row['parent_id'] for row in rows[3:6]] == [None, 4, None]
    assert not list(tmp_path.glob('*.part*'))
