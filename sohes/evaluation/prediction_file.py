"""Predictions of a test run, on disk while it runs.

The masks of a test set do not fit into memory; what one process finds goes
to a file of its own, and in the end these become one COCO results json.
"""
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from mmengine.dist import get_dist_info

from sohes.structures import Entities
from sohes.structures.annotations import number_rows, write_rows
from sohes.structures.rles import text_rle
from sohes.utils.files import whole_file


class PredictionFile:
    """Writes a list of COCO results, with the forest where there is one.

    Beside what COCO wants, a result has an ``id`` and, if a forest was
    predicted, ``parent_id``, that of its parent or null, and ``level``
    where levels were; readers of COCO results pass over these.

    Args:
        path (str | Path): the json. While the run lasts there are
            ``PATH.part0``, ``PATH.part1``, ..., one a process.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: IO[str] | None = None

    def add(self, image_id: Any, found: Entities) -> None:
        """Write one image's to the file of this process."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._part(get_dist_info()[0]).open(
                'w', encoding='utf-8')
        # Neither area nor box: pycocotools would take them for the mask's.
        rows = [dict(segmentation=text_rle(rle), score=score)
                for rle, score in zip(found.rles, found.scores.tolist())]
        if found.has_forest:
            for row, parent in zip(rows, found.forest.parents.tolist()):
                row['parent'] = None if parent < 0 else parent
        if found.given_levels is not None:
            for row, level in zip(rows, found.given_levels.tolist()):
                row['level'] = level
        json.dump(dict(image_id=image_id, rows=rows), self._file)
        self._file.write('\n')

    def close(self) -> None:
        """Nothing more comes from this process."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def merge(self, image_ids: Iterable[Any]) -> None:
        """Make the json, after all processes have closed their files.

        Args:
            image_ids: in the order that the json shall have; others are
                left out, and an image that two processes saw comes once.
        """
        places: dict[Any, tuple[Path, int]] = {}
        parts = [self._part(rank) for rank in range(get_dist_info()[1])]
        for part in filter(Path.is_file, parts):
            with open(part, encoding='utf-8') as file:
                place = 0
                while line := file.readline():
                    places[json.loads(line)['image_id']] = part, place
                    place = file.tell()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(self.path) as out:
            out.write('[')
            write_rows(out, _results(
                places[image_id] for image_id in image_ids
                if image_id in places))
            out.write('\n]\n')

    def remove_part(self) -> None:
        """Remove the file of this process."""
        self._part(get_dist_info()[0]).unlink(missing_ok=True)

    def _part(self, rank: int) -> Path:
        return self.path.with_name(f'{self.path.name}.part{rank}')


def _results(places: Iterable[tuple[Path, int]]) -> Iterator[dict[str, Any]]:
    """The COCO results of images, from where each stands in a part."""
    first = 1
    for part, place in places:
        with open(part, encoding='utf-8') as file:
            file.seek(place)
            image = json.loads(file.readline())
        ids = range(first, first + len(image['rows']))
        yield from number_rows(image['rows'], ids, image['image_id'])
        first = ids.stop
