"""Predictions of a test run, on disk while it runs.

The masks of a test set do not fit into memory; what one process finds goes
to a file of its own, and in the end these become one COCO results json.
"""
import json
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from mmengine.dist import get_dist_info

from sohes.evaluation.predictions import ImagePrediction
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

    def add(self, prediction: ImagePrediction) -> None:
        """Write one image's to the file of this process."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._part(get_dist_info()[0]).open(
                'w', encoding='utf-8')
        parents, levels = prediction.parents, prediction.levels
        json.dump(
            dict(
                image_id=prediction.image_id,
                rles=prediction.json_rles(),
                scores=prediction.scores.tolist(),
                parents=None if parents is None else parents.tolist(),
                levels=None if levels is None else levels.tolist()),
            self._file)
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
        count = 0
        with whole_file(self.path) as out:
            out.write('[')
            for image_id in image_ids:
                if image_id not in places:
                    continue
                part, place = places[image_id]
                with open(part, encoding='utf-8') as file:
                    file.seek(place)
                    rows = _results(json.loads(file.readline()), count + 1)
                for row in rows:
                    out.write(',\n' if count else '\n')
                    json.dump(row, out)
                    count += 1
            out.write('\n]\n')

    def remove_part(self) -> None:
        """Remove the file of this process."""
        self._part(get_dist_info()[0]).unlink(missing_ok=True)

    def _part(self, rank: int) -> Path:
        return self.path.with_name(f'{self.path.name}.part{rank}')


def _results(image: dict[str, Any], first: int) -> list[dict[str, Any]]:
    """The COCO results of an image; ids count from ``first``."""
    rows = [
        dict(id=first + number, image_id=image['image_id'], category_id=1,
             segmentation=rle, score=score)
        for number, (rle, score) in enumerate(
            zip(image['rles'], image['scores']))
    ]
    for row, parent in zip(rows, image['parents'] or []):
        row['parent_id'] = None if parent < 0 else first + parent
    for row, level in zip(rows, image['levels'] or []):
        row['level'] = level
    return rows
