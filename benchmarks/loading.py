"""Images per second per core, beside mmdet's own pipeline.

    python benchmarks/loading.py [--images 8] [--masks 100] [--rounds 2]
    python benchmarks/loading.py --img-dir FOLDER --json LABELS

Both pipelines do the same to the same files in the same run, in turn: load
image and masks, flip, resize by 0.1 to 2.0 of 1024, crop, filter,
copy-paste, pack. Times are of one process on one thread, the process's own,
so that the ratio holds on a busy machine, too. Without files the photos are
those of scikit-image, the masks Voronoi cells and their unions.
"""
import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ[name] = '1'

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sohes.environment import check_environment

check_environment()

import cv2
import numpy as np
import torch
from mmdet.registry import DATASETS
from mmengine.registry import init_default_scope
from pycocotools import mask as coco_mask

SIZE = (1024, 1024)


def pipeline(ours: bool) -> tuple[list[dict], list[dict]]:
    """Transforms of one image, and those that mix two and pack."""
    if ours:
        load = [dict(type='sohes.LoadEntityImage'),
                dict(type='sohes.LoadEntities')]
        mix = [dict(type='sohes.EntityCopyPaste'),
               dict(type='sohes.PackEntityInputs')]
    else:
        load = [dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True, with_mask=True,
                     poly2mask=True)]
        mix = [dict(type='CopyPaste'), dict(type='PackDetInputs')]
    augment = [
        dict(type='RandomFlip', prob=0.5),
        dict(type='RandomResize', scale=SIZE, ratio_range=(0.1, 2.0),
             keep_ratio=True),
        dict(type='RandomCrop', crop_size=SIZE, recompute_bbox=True,
             allow_negative_crop=True),
        dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-5, 1e-5),
             by_mask=True, keep_empty=False),
        # mmdet's CopyPaste wants two images of one size.
        dict(type='Pad', size=SIZE, pad_val=dict(img=(114, 114, 114))),
    ]
    return load + augment, mix


def build(ours: bool, ann_file: str, img_dir: str) -> Any:
    """Our dataset, or mmdet's with its wrapper for copy-paste."""
    first, second = pipeline(ours)
    common = dict(ann_file=ann_file, data_prefix=dict(img=img_dir))
    if ours:
        return DATASETS.build(dict(
            type='sohes.EntityDataset', pipeline=first + second, **common))
    return DATASETS.build(dict(
        type='MultiImageMixDataset', pipeline=second,
        dataset=dict(type='CocoDataset', pipeline=first,
                     metainfo=dict(classes=('entity', )), **common)))


def write_photos(folder: Path, images: int, masks: int) -> str:
    """scikit-image's photos, at about 640 x 480, and masks over them."""
    import skimage.data
    names = ('astronaut', 'chelsea', 'coffee', 'rocket')
    rows, number = [], 0
    for k in range(images):
        photo = getattr(skimage.data, names[k % len(names)])()
        scale = 640 / max(photo.shape)
        photo = cv2.resize(photo, None, fx=scale, fy=scale)
        cv2.imwrite(str(folder / f'{k}.jpg'), photo[..., ::-1])
        size = photo.shape[:2]
        rows.append(dict(id=k + 1, file_name=f'{k}.jpg', height=size[0],
                         width=size[1]))
    annotations = []
    for row in rows:
        rng = np.random.default_rng(row['id'])
        for mask, parent in nested_masks(row, masks, rng):
            number += 1
            rle = coco_mask.encode(np.asfortranarray(mask))
            annotations.append(dict(
                id=number, image_id=row['id'], category_id=1, iscrowd=0,
                parent_id=parent and number - parent,
                segmentation=dict(size=rle['size'],
                                  counts=rle['counts'].decode()),
                bbox=coco_mask.toBbox(rle).tolist(),
                area=int(coco_mask.area(rle)), score=1.0))
    path = folder / 'labels.json'
    path.write_text(json.dumps(dict(
        images=rows, annotations=annotations,
        categories=[dict(id=1, name='entity')])))
    return str(path)


def nested_masks(row: dict, count: int,
                 rng: np.random.Generator) -> list[tuple]:
    """A fifth are wholes, each followed by its four parts."""
    height, width = row['height'], row['width']
    wholes = max(1, count // 5)
    points = rng.random((wholes * 4, 2)) * (height, width)
    y, x = np.mgrid[:height, :width]
    cells = ((y[..., None] - points[:, 0])**2
             + (x[..., None] - points[:, 1])**2).argmin(-1)
    found = []
    for whole in range(wholes):
        found.append(((cells // 4 == whole).astype(np.uint8), None))
        found += [((cells == 4 * whole + k).astype(np.uint8), k + 1)
                  for k in range(4)]
    return found


def seconds(dataset: Any, count: int, seed: int) -> float:
    """Own time of the process for each sample, in seconds."""
    random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
    start = time.process_time()
    for k in range(count):
        dataset[k % len(dataset)]
    return (time.process_time() - start) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--images', type=int, default=8)
    parser.add_argument('--masks', type=int, default=100)
    parser.add_argument('--rounds', type=int, default=2)
    parser.add_argument('--img-dir')
    parser.add_argument('--json')
    args = parser.parse_args()
    if (args.img_dir is None) != (args.json is None):
        parser.error('--img-dir and --json go together')
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    init_default_scope('mmdet')
    with tempfile.TemporaryDirectory() as folder:
        img_dir = args.img_dir or folder
        ann_file = args.json or write_photos(
            Path(folder), args.images, args.masks)
        datasets = [build(ours, ann_file, img_dir) for ours in (True, False)]
        # mmdet's CopyPaste at times asks for the image after the last.
        datasets[1].pipeline[0].get_indexes = (
            lambda dataset: random.randrange(len(dataset)))
        times: list[list[float]] = [[], []]
        datasets[0][0]  # compiles
        for seed in range(args.rounds):
            for dataset, found in zip(datasets, times):
                found.append(seconds(dataset, args.images, seed))
    ours, theirs = (statistics.median(found) for found in times)
    print(f'sohes {1 / ours:.1f} images/s per core ({1000 * ours:.0f} ms), '
          f'mmdet {1 / theirs:.1f} ({1000 * theirs:.0f} ms)')
    print(f'ratio {theirs / ours:.1f} (bar: 3)')


if __name__ == '__main__':
    main()
