"""Labels on disk while a run goes on: shards, written whole or not at all.

A run over a folder is cut into shards of consecutive images. Each is a file of
its own, renamed into place when it is complete, so a run that was killed at
any moment continues where it stopped, with any number of workers. A shard's
first line holds its images and counts, then comes one line of annotations an
image.
"""
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sohes.pseudo_labels.pipeline import PseudoLabels
from sohes.utils.files import whole_file

#: Raise it when the shards' lines change.
_FORMAT = 2


def to_record(name: str, labels: PseudoLabels,
              sha256: str | None = None) -> dict[str, Any]:
    """One image's labels as plain data.

    Parents are indices or None, ancestors a list of indices: the pairwise
    relation of step 4, of which the parents are only a part.

    Args:
        name (str): relative to the folder.
        labels (PseudoLabels): of the image.
        sha256 (str, optional): of its file, see
            :mod:`sohes.utils.photo_files`.
    """
    from pycocotools import mask as coco_mask
    areas = coco_mask.area(labels.rles) if labels.rles else []
    boxes = coco_mask.toBbox(labels.rles) if labels.rles else []
    annotations = [
        dict(
            segmentation=rle,
            bbox=[int(v) for v in box],
            area=int(area),
            parent=int(parent) if parent >= 0 else None,
            ancestors=np.flatnonzero(above).tolist(),
            score=round(float(score), 6))
        for rle, box, area, parent, above, score in zip(
            labels.rles, boxes, areas, labels.forest.parents,
            labels.forest.ancestors.T, labels.scores)
    ]
    if labels.has_levels:
        for annotation, level in zip(annotations, labels.forest.levels()):
            annotation['level'] = int(level)
    height, width = labels.size
    return dict(
        file_name=name,
        height=height,
        width=width,
        sha256=sha256,
        counts=labels.counts,
        annotations=annotations)


def failed_record(name: str, reason: str,
                  sha256: str | None = None) -> dict[str, Any]:
    """What stays of an image that could not be read."""
    return dict(file_name=name, reason=reason, sha256=sha256)


class ShardFolder:
    """The shards of one run, beside its output file.

    Args:
        out (str | Path): the json that the run will make.
        info (Mapping): all that decides the labels: configuration, weights'
            hash, version. Goes into the json as it is.
        names (Sequence[str]): the images, in order.
        shard_size (int): images in a shard.

    Raises:
        ValueError: if the folder holds another run; the sentence says which
            keys differ.
    """

    def __init__(self, out: str | Path, info: Mapping[str, Any],
                 names: Sequence[str], shard_size: int) -> None:
        self.out = Path(out)
        self.folder = self.out.with_name(self.out.name + '.parts')
        self.info = json.loads(json.dumps(info))
        self.names = list(names)
        self.shard_size = shard_size

    def __len__(self) -> int:
        """Number of shards."""
        return -(-len(self.names) // self.shard_size)

    def images_of(self, shard: int) -> list[str]:
        """The images of a shard, in order."""
        first = shard * self.shard_size
        return self.names[first:first + self.shard_size]

    def path(self, shard: int) -> Path:
        """Where a shard stands once it is whole."""
        return self.folder / f'shard-{shard:07d}.jsonl'

    def is_done(self, shard: int) -> bool:
        """Whether a shard is whole."""
        return self.path(shard).exists()

    def _run(self) -> dict[str, Any]:
        digest = hashlib.sha256('\0'.join(self.names).encode(
            'utf-8', 'surrogateescape')).hexdigest()
        return dict(
            format=_FORMAT,
            info=self.info,
            shard_size=self.shard_size,
            images=len(self.names),
            names_sha256=digest)

    def _refuse_link(self) -> None:
        """Shards are written and deleted in this folder, not elsewhere."""
        if self.folder.is_symlink():
            raise ValueError(f'{self.folder} is a link; remove it, or choose '
                             'another --out')

    def open(self) -> None:
        """Make the folder, or make sure that it is this run's."""
        self._refuse_link()
        self.folder.mkdir(parents=True, exist_ok=True)
        manifest = self.folder / 'run.json'
        if not manifest.exists():
            with whole_file(manifest) as file:
                json.dump(self._run(), file, indent=1)
        found = json.loads(manifest.read_text(encoding='utf-8'))
        changed = differences(found, self._run())
        if changed:
            raise ValueError(
                f'{self.folder} holds an unfinished run that differs in '
                f'{"; ".join(changed[:5])}. Continue it with the same '
                'settings, choose another --out, or start anew with '
                '--overwrite')

    def photos(self) -> Iterator[tuple[str, str | None]]:
        """Name and hash of every image in a shard that is whole."""
        for shard in filter(self.is_done, range(len(self))):
            with open(self.path(shard), encoding='utf-8') as file:
                header = json.loads(file.readline())
            for record in header['images'] + header['failed']:
                yield record['file_name'], record.get('sha256')

    def write(self, shard: int, records: Sequence[Mapping[str, Any]]) -> None:
        """Write a shard, whole or not at all."""
        good = [r for r in records if 'annotations' in r]
        header = dict(
            images=[{
                key: value
                for key, value in record.items() if key != 'annotations'
            } for record in good],
            failed=[r for r in records if 'annotations' not in r])
        with whole_file(self.path(shard)) as file:
            file.write(_line(header))
            for record in good:
                file.write(_line(record['annotations']))

    def remove(self) -> None:
        """Delete the shards and their folder."""
        self._refuse_link()
        for path in self.folder.glob('*'):
            path.unlink()
        if self.folder.exists():
            self.folder.rmdir()


def _line(value: Any) -> str:
    return json.dumps(value, separators=(',', ':')) + '\n'


def differences(found: Any, wanted: Any, where: str = '') -> list[str]:
    """Where two json values differ, each as 'key: found a, now b'."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return [
            text for key in sorted({*found, *wanted})
            for text in differences(
                found.get(key), wanted.get(key),
                f'{where}.{key}' if where else key)
        ]
    if found == wanted:
        return []
    return [f'{where}: found {found!r}, now {wanted!r}']
