"""Shards into one COCO json, a line at a time."""
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sohes.pseudo_labels.shards import ShardFolder
from sohes.structures.annotations import ENTITY, number_rows, write_coco


def merge_shards(shards: ShardFolder) -> dict[str, Any]:
    """Write the COCO json of a finished run.

    Images and annotations are numbered from 1 in the order of the images'
    names; the file holds neither time nor host, so the same run gives the
    same bytes. Never more than one shard's line is in memory.

    Args:
        shards (ShardFolder): all shards whole.

    Returns:
        dict: the ``info`` of the json, with the run's counts.

    Raises:
        FileNotFoundError: if a shard is missing.
    """
    missing = [k for k in range(len(shards)) if not shards.is_done(k)]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of {len(shards)} shards are missing, the first '
            f'is {shards.path(missing[0])}: start the same command again')
    counts, failed, info = Counter(), [], dict(shards.info)

    def finished(annotations: int) -> dict[str, Any]:
        info['counts'] = dict(sorted(counts.items()), annotations=annotations)
        info['failed'] = failed
        return info

    images = (dict(id=number, **image) for number, image in enumerate(
        _images(shards, counts, failed), 1))
    write_coco(shards.out, images, _annotations(shards), finished,
               [dict(ENTITY, supercategory='entity')], licenses=[])
    return info


def _images(shards: ShardFolder, counts: Counter,
            failed: list) -> Iterator[dict]:
    """Image entries; adds up counts and failures on the way."""
    for shard in range(len(shards)):
        with open(shards.path(shard), encoding='utf-8') as file:
            header = json.loads(file.readline())
        failed += header['failed']
        for image in header['images']:
            counts['images'] += 1
            counts.update(image.pop('counts'))
            yield image


def _annotations(shards: ShardFolder) -> Iterator[dict]:
    """Annotation entries, numbered through, parents by annotation id."""
    image_id = next_id = 1
    for shard in range(len(shards)):
        with open(shards.path(shard), encoding='utf-8') as file:
            file.readline()
            for line in file:
                masks = json.loads(line)
                yield from number_rows(
                    masks, range(next_id, next_id + len(masks)), image_id,
                    iscrowd=0)
                image_id += 1
                next_id += len(masks)


def read_info(path: Path) -> dict[str, Any] | None:
    """The ``info`` of a json that `merge_shards` wrote, without its masks.

    Returns:
        dict: None if the file does not end as ours do.
    """
    key = b'"licenses": [],\n"info": '
    with open(path, 'rb') as file:
        file.seek(0, 2)
        size, tail = file.tell(), b''
        while key not in tail and len(tail) < size:
            start = max(0, size - max(2 * len(tail), 1 << 16))
            file.seek(start)
            tail = file.read(size - start)
    if key not in tail:
        return None
    try:
        return json.loads(tail[tail.rindex(key) + len(key):].rstrip()[:-1])
    except (ValueError, RecursionError):
        return None
