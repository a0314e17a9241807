"""Datasets with files for each image: converted in shards, and resumable."""
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sohes.converters.entity_json import check_out
from sohes.pseudo_labels.shards import ShardFolder
from sohes.structures.annotations import number_rows, write_coco
from sohes.utils.errors import FileError
from sohes.utils.json_guard import JsonGuard
from sohes.utils.locks import sole_run
from sohes.utils.progress import Progress
from sohes.version import __version__

#: Images in a shard: what a killed run has to do again.
SHARD = 50


def convert_images(out: Path,
                   names: Sequence[str],
                   read: Callable[[str], dict[str, Any]],
                   info: Mapping[str, Any],
                   overwrite: bool = False,
                   quiet: bool = False,
                   workers: int = 1) -> Counter:
    """Convert a dataset image by image.

    Beside the output stands ``<out>.parts`` while it runs; the same call
    continues from it.

    Args:
        out (Path): the json to write.
        names (Sequence[str]): of the images, in the order of the output.
        read (Callable): from a name to ``file_name``, ``height``, ``width``,
            optionally ``id`` (by default they are counted from 1) and
            ``counts`` of what was noticed, and ``annotations``, dicts of
            ``segmentation``, ``area``, ``bbox``, and ``parent``, the
            position of the parent among them or None, in all or in none.
        info (Mapping): all that decides the output.
        overwrite (bool): write over ``out`` and start anew.
        quiet (bool): show no progress.
        workers (int): threads that read.

    Returns:
        Counter: images, annotations, and the sums of ``counts``.

    Raises:
        FileError: a file is missing or not as published, or an
            unfinished run differs from this one.
    """
    check_out(out, [], overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    with sole_run(out):
        shards = ShardFolder(out, info, names, SHARD, labels=False)
        return _convert(shards, read, info, overwrite, quiet, workers)


def _convert(shards: ShardFolder, read: Callable[[str], dict[str, Any]],
             info: Mapping[str, Any], overwrite: bool, quiet: bool,
             workers: int) -> Counter:
    """What is not converted yet, then the json."""
    if overwrite:
        shards.remove()
    try:
        shards.open()
    except ValueError as error:
        raise FileError(str(error)) from error
    with Progress(len(shards.names), quiet, task='converting') as progress, \
            ThreadPoolExecutor(workers) as pool:
        progress.skip(sum(len(shards.images_of(k)) for k in range(len(shards))
                          if shards.is_done(k)))
        for number in range(len(shards)):
            if shards.is_done(number):
                continue
            records = []
            for record in pool.map(read, shards.images_of(number)):
                records.append(record)
                progress.step()
            shards.write(number, records)
    counts = _merge(shards, info)
    shards.remove()
    return counts


def _merge(shards: ShardFolder, info: Mapping[str, Any]) -> Counter:
    counts = Counter(images=len(shards.names))
    ids: list[int] = []
    images = _images(shards, ids, counts)
    number = write_coco(
        shards.out, images, _annotations(shards, ids),
        lambda _: {**info, 'counts': counts, 'version': __version__})
    return counts + Counter(annotations=number)


def _images(shards: ShardFolder, ids: list[int],
            counts: Counter) -> Iterator[dict[str, Any]]:
    """Rows for ``images``; their ids and counts are noted on the way."""
    seen: set[int] = set()
    for number in range(len(shards)):
        with open(shards.path(number), encoding='utf-8') as file:
            header = json.loads(file.readline())
        for image in header['images']:
            counts.update(image.pop('counts', {}))
            ids.append(image.pop('id', len(ids) + 1))
            if ids[-1] in seen:
                raise FileError(
                    f'two images have the id {ids[-1]}, the second of them '
                    f'{image["file_name"]}: is a folder there twice?')
            seen.add(ids[-1])
            yield dict(id=ids[-1], **image)


def _annotations(shards: ShardFolder,
                 ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Rows for ``annotations``, numbered from 1."""
    first, image = 1, iter(ids)
    for number in range(len(shards)):
        with open(shards.path(number), encoding='utf-8') as file:
            file.readline()
            for line in file:
                rows, image_id = json.loads(line), next(image)
                yield from number_rows(rows, range(first, first + len(rows)),
                                       image_id, iscrowd=0)
                first += len(rows)


def check_count(title: str, found: int, wanted: int | None,
                where: Path) -> None:
    """Refuse a split that is not whole.

    Args:
        title (str): of the dataset and split.
        found (int): images of it.
        wanted (int, optional): as published; None: not checked.
        where (Path): the folder looked into.

    Raises:
        FileError: none, or another number.
    """
    if not found:
        raise FileError(f'{where} has no annotations of {title}')
    if wanted is not None and found != wanted:
        raise FileError(
            f'{where} has annotations of {found} images, {title} has '
            f'{wanted}: another version, or not all of it; --subset takes it '
            'as it is')


def read_json(path: Path) -> Any:
    """A small json file; bytes that are no UTF-8 are replaced in names.

    Raises:
        FileError: it is missing or no json.
    """
    try:
        text = path.read_bytes()
        JsonGuard().feed(text)
        return json.loads(text.decode('utf-8-sig', 'replace'))
    except FileNotFoundError as error:
        raise FileError(f'{path} is missing') from error
    except FileError as error:
        raise FileError(f'{path} cannot be read: {error}') from error
    except ValueError as error:
        raise FileError(f'{path} is not json: {error}') from error
