"""Datasets that come as one COCO-like json: COCO, LVIS, PACO and others.

The json is never in memory as a whole: its images are, its annotations pass
through in blocks.
"""
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sohes.converters.entity_json import (
    check_image,
    check_out,
    measures,
    plain_segmentation,
    sample,
)
from sohes.structures.annotations import write_coco
from sohes.structures.segmentations import (
    compressed_counts,
    is_number,
    is_whole,
)
from sohes.utils.errors import FileError
from sohes.utils.json_rows import is_crowd
from sohes.utils.json_stream import (
    BLOCK,
    stream_annotations,
    stream_images,
)
from sohes.utils.progress import Progress
from sohes.version import __version__


def _own_name(image: Mapping[str, Any]) -> Any:
    return image.get('file_name')


@dataclass(frozen=True)
class CocoLike:
    """What sets the json of a dataset apart.

    Attributes:
        title: The dataset's name.
        images: How many images its published files have, by file name.
        file_name: Finds an image's path under the folder of images.
        more: Keys of an image that ``file_name`` reads beside COCO's.
        shift: Added to the annotations' ids: pycocotools takes a match with
            the id 0 for no match.
        whole: Key of an annotation that holds the id of the object it is
            a part of, or its own id if it is an object. None: the file does
            not say who is part of whom.
    """
    title: str
    images: Mapping[str, int] = field(default_factory=dict)
    file_name: Callable[[Mapping[str, Any]], Any] = _own_name
    more: tuple[str, ...] = ()
    shift: int = 0
    whole: str | None = None


def convert_coco_like(kind: CocoLike,
                      source: Path,
                      out: Path,
                      *,
                      only: str | None = None,
                      limit: int | None = None,
                      seed: int = 0,
                      subset: bool = False,
                      overwrite: bool = False,
                      quiet: bool = False) -> Counter:
    """Convert a COCO-like json.

    Crowd regions stay crowd regions, areas and boxes stay those of the
    file, polygons stay polygons.

    Args:
        kind (CocoLike): the dataset.
        source (Path): its json.
        out (Path): the json to write.
        only (str, optional): 'objects' or 'parts', of a dataset with both.
        limit (int, optional): images to choose at random.
        seed (int): of that choice.
        subset (bool): ``source`` need not be a whole published file.
        overwrite (bool): write over ``out``.
        quiet (bool): show no progress.

    Returns:
        Counter: images, annotations, crowds, and what was left out and why.

    Raises:
        FileError: the file is no COCO json, not that of the dataset, or
            broken.
        OSError: it cannot be read.
    """
    check_out(out, [source], overwrite)
    images = _read_images(kind, source)
    wanted = kind.images.get(source.name)
    if not subset and wanted is not None and len(images) != wanted:
        raise FileError(
            f'{source} has {len(images)} images, {kind.title} has {wanted} '
            f'in {source.name}: another version, or cut; --subset takes it '
            'as it is')
    chosen = sample(sorted(images), limit, seed)
    known, images = set(images), {key: images[key] for key in chosen}
    counts = Counter(images=len(images))
    reader = _Reader(kind, source, only, known, images, counts)
    info = dict(description=f'{kind.title} as entities', source=source.name,
                only=only, limit=limit, seed=seed, counts=counts,
                version=__version__)
    blocks = -(-source.stat().st_size // BLOCK)
    passes = 1 if kind.whole is None else 2
    with Progress(passes * blocks, quiet, task='converting',
                  unit='blocks') as progress:
        reader.on_block = progress.step
        if kind.whole is not None:
            reader.find_objects()
        out.parent.mkdir(parents=True, exist_ok=True)
        write_coco(out, images.values(), reader.rows(), lambda _: info)
    return counts


def _read_images(kind: CocoLike, source: Path) -> dict[int, dict[str, Any]]:
    """By id, the rows of the images to write."""
    found = {}
    for image in stream_images(source, kind.more):
        name = kind.file_name(image)
        size = [image.get(key) for key in ('id', 'height', 'width')]
        if not isinstance(name, str) or not is_whole(size[0]) or not all(
                is_whole(value, 1) for value in size[1:]):
            raise FileError(
                f'{source}: an image is not as {kind.title} has it: '
                f'{image!r:.200}')
        check_image(name, size[1:], f'{source}: image {size[0]}')
        found[size[0]] = dict(
            id=size[0], file_name=name, height=size[1], width=size[2])
    if not found:
        raise FileError(f'{source} has no images')
    return found


class _Reader:
    """The annotations of the chosen images, checked."""

    def __init__(self, kind: CocoLike, source: Path, only: str | None,
                 known: set[int], images: dict[int, dict],
                 counts: Counter) -> None:
        self.kind = kind
        self.source = source
        self.only = only
        self.known = known
        self.images = images
        self.counts = counts
        self.on_block: Callable[[], None] | None = None
        self._objects: set[int] = set()

    def find_objects(self) -> None:
        """First pass: the objects that can be parents."""
        for row, _ in self._annotations():
            if row.get(self.kind.whole) == row['id']:
                self._objects.add(row['id'])

    def rows(self) -> Iterator[dict[str, Any]]:
        """Second pass: what to write."""
        for row, segmentation in self._annotations(self.counts):
            crowd = self._crowd(row)
            result = dict(
                id=row['id'] + self.kind.shift,
                image_id=row['image_id'],
                category_id=1,
                iscrowd=crowd,
                **self._measures(row, segmentation),
                segmentation=segmentation)
            if self.kind.whole is not None:
                whole = row.get(self.kind.whole)
                is_part = whole != row['id']
                if self.only == ('objects' if is_part else 'parts'):
                    continue
                parent = None
                if is_part and self.only is None:
                    parent = (whole + self.kind.shift
                              if whole in self._objects else None)
                    self.counts['parts_without_object'] += parent is None
                self.counts['parts' if is_part else 'objects'] += 1
                result['parent_id'] = parent
            self.counts['annotations'] += 1
            self.counts['crowds'] += crowd
            yield result

    def _crowd(self, row: dict[str, Any]) -> int:
        try:
            return int(is_crowd(row))
        except ValueError as error:
            raise FileError(f'{self.source}: annotation {row["id"]}: '
                            f'{error}') from error

    def _annotations(
            self, counts: Counter | None = None
    ) -> Iterator[tuple[dict[str, Any], Any]]:
        """Rows of the chosen images with a mask, and that mask."""
        for rows, _ in stream_annotations(self.source, self.on_block):
            for row in rows:
                image = self._image(row)
                if image is None:
                    continue
                where = f'{self.source}: annotation {row["id"]}'
                if not row.get('segmentation'):
                    raise FileError(f'{where} has no segmentation')
                segmentation = plain_segmentation(
                    row.get('segmentation'),
                    (image['height'], image['width']), where)
                if segmentation is not None:
                    yield row, segmentation
                elif counts is not None:
                    counts['left_out_without_area'] += 1

    def _image(self, row: Any) -> dict[str, Any] | None:
        """The image of an annotation; None: not among the chosen."""
        if not isinstance(row, dict) or not is_whole(row.get('id')):
            raise FileError(f'{self.source}: an annotation needs a whole '
                            f'number "id", found {row!r:.80}')
        whole = self.kind.whole
        if whole is not None and not (row.get(whole) is None
                                      or is_whole(row[whole])):
            raise FileError(
                f'{self.source}: annotation {row["id"]}: "{whole}" must be '
                f'the id of an annotation, found {row[whole]!r:.60}')
        if not is_whole(row.get('image_id')) or (
                row['image_id'] not in self.known):
            raise FileError(
                f'{self.source}: annotation {row["id"]} is on image '
                f'{row.get("image_id")!r:.60}, which the file does not list')
        return self.images.get(row['image_id'])

    def _measures(self, row: dict, segmentation: Any) -> dict[str, Any]:
        """The file's own area and box, else those of the mask."""
        area, box = row.get('area'), row.get('bbox')
        if area is not None and box:
            if not is_number(area) or not isinstance(box, list) or len(
                    box) != 4 or not all(map(is_number, box)):
                raise FileError(
                    f'{self.source}: annotation {row["id"]}: "area" and '
                    '"bbox" must be a finite number and four, found '
                    f'{area!r:.40} and {box!r:.80}')
            return dict(area=area, bbox=box)
        image = self.images[row['image_id']]
        size = image['height'], image['width']
        return measures(dict(
            size=list(size), counts=compressed_counts(segmentation, size)))
