"""Small files in the formats that the datasets' authors publish."""
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

SQUARE = [[2.0, 2.0, 12.0, 2.0, 12.0, 12.0, 2.0, 12.0]]
SIZE = dict(height=20, width=30)


def rle(top: int, left: int, bottom: int, right: int) -> dict[str, Any]:
    """A rectangle of a 20 x 30 image as compressed RLE."""
    mask = np.zeros((20, 30), np.uint8, order='F')
    mask[top:bottom, left:right] = 1
    found = coco_mask.encode(mask)
    return dict(size=[20, 30], counts=found['counts'].decode())


def row(number: int, image: int, segmentation: Any, **more: Any) -> dict:
    """An annotation with COCO's keys."""
    return dict(id=number, image_id=image, category_id=7, area=100.5,
                bbox=[2, 2, 10, 10], segmentation=segmentation, **more)


def dump(path: Path, value: Any) -> Path:
    """A json file, in a folder made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def photo(path: Path) -> None:
    """A black photo of 20 x 30 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (30, 20)).save(path)


def coco(root: Path) -> Path:
    """instances_val2017.json: polygons, and a crowd as plain runs."""
    for name in ('000000000139.jpg', '000000000285.jpg'):
        photo(root / 'val2017' / name)
    runs = dict(size=[20, 30], counts=[100, 40, 460])
    return dump(root / 'annotations' / 'instances_val2017.json', dict(
        info={}, licenses=[], images=[
            dict(id=285, file_name='000000000285.jpg', **SIZE),
            dict(id=139, file_name='000000000139.jpg', **SIZE)],
        annotations=[row(9, 139, SQUARE, iscrowd=0),
                     row(900100000139, 139, runs, iscrowd=1)],
        categories=[dict(id=7, name='x')]))


def lvis(root: Path) -> Path:
    """lvis_v1_val.json: annotations first, URLs instead of names."""
    images = []
    for number, folder in ((1, 'train2017'), (2, 'val2017')):
        photo(root / folder / f'{number:012d}.jpg')
        images.append(dict(
            id=number, **SIZE, not_exhaustive_category_ids=[7],
            neg_category_ids=[], coco_url='http://images.cocodataset.org/'
            f'{folder}/{number:012d}.jpg'))
    return dump(root / 'annotations' / 'lvis_v1_val.json', dict(
        annotations=[row(1, 1, SQUARE), row(2, 2, SQUARE)], images=images,
        categories=[dict(id=7, name='x')]))


def entityseg(root: Path) -> Path:
    """entityseg_val_lr.json: RLEs, ids from 0."""
    name = 'entity_01_11580/ade20k_ADE_train_1.jpg'
    photo(root / 'images_lr' / name)
    return dump(root / 'entityseg_val_lr.json', dict(
        images=[dict(id=0, file_name=name, img_source='x', **SIZE)],
        annotations=[row(0, 0, rle(0, 0, 10, 30), category_id_ori='sky'),
                     row(1, 0, rle(10, 0, 20, 30), category_id_ori='sea')],
        categories=[dict(id=7, name='entity')]))


def partimagenet(root: Path) -> Path:
    """val.json: polygons, some of two points."""
    photo(root / 'val' / 'n01484850' / 'n01484850_17.JPEG')
    line = [1.0, 1.0, 5.0, 5.0]
    return dump(root / 'val.json', dict(
        images=[dict(id=0, file_name='n01484850_17.JPEG', **SIZE)],
        annotations=[row(0, 0, SQUARE), row(1, 0, [line, *SQUARE]),
                     row(2, 0, [line])],
        categories=[dict(id=7, name='Fish Head')]))


def paco(root: Path) -> Path:
    """paco_lvis_v1_val.json: object polygons, part RLEs, parts first."""
    photo(root / 'train2017' / '000000000009.jpg')
    return dump(root / 'paco_lvis_v1_val.json', dict(
        images=[dict(id=9, file_name='train2017/000000000009.jpg', **SIZE)],
        annotations=[
            row(11, 9, rle(2, 2, 6, 6), obj_ann_id=10),
            row(10, 9, SQUARE, obj_ann_id=10),
            row(13, 9, rle(0, 0, 1, 1), obj_ann_id=12),
            row(12, 9, [[1.0, 1.0, 2.0, 2.0]], obj_ann_id=12)],
        categories=[dict(id=7, name='dog')],
        part_categories=[dict(id=1, name='ear', supercategory='PART')]))


def sa1b(root: Path) -> Path:
    """Two packs of one and three photos, a json beside each."""
    for pack, numbers in (('sa_000000', (1, )), ('sa_000020', (9, 10, 11))):
        for number in numbers:
            photo(root / pack / f'sa_{number}.jpg')
            masks = [rle(0, 0, 10, 10), rle(2, 2, 4, 4 + number)]
            dump(root / pack / f'sa_{number}.json', dict(
                image=dict(image_id=number, file_name=f'sa_{number}.jpg',
                           **SIZE),
                annotations=[dict(
                    id=5 * number + k, segmentation=mask, area=1,
                    bbox=[0.0, 0.0, 9.0, 9.0], predicted_iou=0.9,
                    point_coords=[[1.0, 1.0]], stability_score=0.9,
                    crop_box=[0.0, 0.0, 30.0, 20.0])
                    for k, mask in enumerate(masks)]))
    return root


def ade20k(root: Path) -> Path:
    """One image: two cars, a door of the second, a handle of the door.

    A third car is wholly hidden; the sky has no object in the json.
    """
    folder = root / 'images/ADE/validation/urban/street'
    photo(folder / 'ADE_val_00000001.jpg')
    seg = np.zeros((20, 30, 3), np.uint8)
    seg[:4] = (110, 5, 85)  # sky, class 11 * 256 + 5
    seg[10:18, 2:12] = (10, 145, 255)  # a car, class 256 + 145
    seg[10:18, 16:28] = (10, 145, 170)
    parts_1, parts_2 = np.zeros((2, 20, 30, 3), np.uint8)
    parts_1[11:17, 18:24] = (30, 7, 255)
    parts_2[13:15, 20:22] = (40, 9, 255)
    for end, pixels in (('seg', seg), ('parts_1', parts_1),
                        ('parts_2', parts_2)):
        Image.fromarray(pixels).save(folder / f'ADE_val_00000001_{end}.png')

    def item(number: int, kind: int, box: tuple, level: int = 0,
             whole: Any = ()) -> dict:
        left, top, right, bottom = box
        return dict(
            id=number, name='x', name_ndx=kind, polygon=dict(
                x=[left, right, right, left], y=[top, top, bottom, bottom]),
            parts=dict(part_level=level, hasparts=[],
                       ispartof=list(whole) if whole == () else whole))

    dump(folder / 'ADE_val_00000001.json', dict(annotation=dict(
        filename='ADE_val_00000001.jpg', imsize=[20, 30, 3], object=[
            item(0, 401, (2, 10, 11, 17)), item(3, 401, (16, 10, 27, 17)),
            item(4, 775, (18, 11, 23, 16), 1, 3),
            item(5, 1033, (20, 13, 21, 14), 2, 4),
            item(7, 401, (4, 12, 6, 14))])))
    return root


def bsds500(root: Path) -> Path:
    """One photo and two annotators who agree on the left half."""
    from scipy.io import savemat
    photo(root / 'images/val/42.jpg')
    halves = np.ones((20, 30), np.uint16)
    halves[:, 15:] = 2
    finer = halves.copy()
    finer[:10, 15:] = 3
    finer[0, 0] = 4  # one pixel
    truth = np.empty((1, 2), object)
    for k, labels in enumerate((halves, finer)):
        truth[0, k] = dict(Segmentation=labels,
                           Boundaries=np.zeros((20, 30), bool))
    (root / 'groundTruth/val').mkdir(parents=True)
    savemat(root / 'groundTruth/val/42.mat', dict(groundTruth=truth))
    return root
