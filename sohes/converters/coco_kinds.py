"""The datasets that come as one COCO-like json, and how they differ.

Numbers of images are those that the datasets' own pages give.
"""
from collections.abc import Mapping
from typing import Any

from sohes.converters.coco_like import CocoLike


def _from_url(image: Mapping[str, Any]) -> str | None:
    """LVIS v1 has no file names; the folder and name end its COCO URL."""
    url = image.get('coco_url')
    if not isinstance(url, str):
        return None
    return '/'.join(url.split('/')[-2:])


def _by_synset(image: Mapping[str, Any]) -> Any:
    """PartImageNet's photos lie in a folder for each class of ImageNet."""
    name = image.get('file_name')
    if isinstance(name, str) and '/' not in name and '_' in name:
        return f'{name.split("_")[0]}/{name}'
    return name


COCO = CocoLike(
    'COCO 2017',
    {'instances_val2017.json': 5000, 'instances_train2017.json': 118287})
LVIS = CocoLike(
    'LVIS v1', {'lvis_v1_val.json': 19809, 'lvis_v1_train.json': 100170},
    file_name=_from_url, more=('coco_url', ))
ENTITYSEG = CocoLike('EntitySeg', shift=1)
PARTIMAGENET = CocoLike(
    'PartImageNet', {'train.json': 16540, 'val.json': 2957,
                     'test.json': 4598},
    file_name=_by_synset, shift=1)
PACO = CocoLike(
    'PACO-LVIS v1',
    {'paco_lvis_v1_train.json': 45790, 'paco_lvis_v1_val.json': 2410,
     'paco_lvis_v1_test.json': 9443},
    whole='obj_ann_id')
