"""What was found in one image: masks, scores, and who is part of whom."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sohes.structures.annotations import ENTITY, find_forest, number_rows
from sohes.structures.entity_forest import EntityForest
from sohes.structures.rles import (
    decode_rles,
    rle_areas,
    rle_boxes,
    text_rle,
)
from sohes.structures.segmentations import (
    MOST_MASKS,
    check_image_size,
    checked_rle,
    is_number,
    is_whole,
)
from sohes.utils.json_rows import is_crowd


@dataclass(frozen=True, eq=False)
class Entities:
    """N masks of one image with their scores and their forest.

    Phase 1 labels an image with them, a model predicts them, and a COCO
    json holds them.

    Attributes:
        size: (H, W) of the image in pixels.
        rles: N compressed COCO RLEs of that size, ``counts`` bytes or text.
        scores: (N,) float64, any finite scale; higher is better.
        forest: Of the N masks; its ``pairs`` and ``ancestors`` are the
            pairwise relation. None: nobody looked for it; then all masks
            are roots, and ``has_forest`` is False.
        given_levels: (N,) int64, 0 whole, 1 part, 2 subpart, as a method
            that has levels says (HASSOD); None: of others.
        counts: What was counted on the way, such as masks dropped.
        has_forest: Whether somebody looked for the forest.

    Raises:
        ValueError: These do not belong together.

    Examples:
        >>> found = Entities((2, 2), [whole, part], [.9, .8],
        ...                  EntityForest([-1, 0]))
        >>> found.masks().shape, found.levels().tolist()
        ((2, 2, 2), [0, 1])
        >>> len(found.above(.85)), found.best(1).scores.tolist()
        (1, [0.9])
    """
    size: tuple[int, int]
    rles: Sequence[Mapping[str, Any]]
    scores: np.ndarray
    forest: EntityForest | None = None
    given_levels: np.ndarray | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    has_forest: bool = field(init=False)

    def __post_init__(self) -> None:
        count, levels = len(self.rles), self.given_levels
        values = dict(
            size=(int(self.size[0]), int(self.size[1])),
            rles=list(self.rles),
            scores=np.asarray(self.scores, np.float64),
            given_levels=(None if levels is None else
                          np.asarray(levels, np.int64)),
            has_forest=self.forest is not None)
        if self.forest is None:
            values['forest'] = EntityForest(np.full(count, -1))
        for name, value in values.items():
            object.__setattr__(self, name, value)
        for name in ('scores', 'given_levels'):
            found = getattr(self, name)
            if found is not None and found.shape != (count, ):
                raise ValueError(f'{count} masks, but {name} of shape '
                                 f'{found.shape}')
        if len(self.forest) != count:
            raise ValueError(f'{count} masks, but a forest of '
                             f'{len(self.forest)}')
        for rle in self.rles:
            if tuple(rle['size']) != self.size:
                raise ValueError(
                    f'the image is {self.size[1]} x {self.size[0]} pixels, '
                    f'its masks are {rle["size"][1]} x {rle["size"][0]}')

    def __len__(self) -> int:
        return len(self.rles)

    def masks(self) -> np.ndarray:
        """(N, H, W) bool, decoded."""
        return decode_rles(self.rles, self.size)

    def areas(self) -> np.ndarray:
        """(N,) int64, pixels of each mask."""
        return rle_areas(self.rles)

    def boxes(self) -> np.ndarray:
        """(N, 4) float64, left, top, width and height in pixels."""
        return rle_boxes(self.rles)

    def levels(self) -> np.ndarray:
        """(N,) int64: 0 whole, 1 part, 2 subpart and all below it.

        As ``given_levels`` say, else by the depth in the forest.
        """
        if self.given_levels is not None:
            return self.given_levels
        return self.forest.levels()

    def subset(self, indices: Sequence[int]) -> 'Entities':
        """Some of the masks; see :meth:`EntityForest.subset`.

        Args:
            indices: (M,) integers or (N,) bool: which stay, in which order.
        """
        forest = self.forest.subset(indices)
        indices = np.asarray(indices)
        if indices.dtype == bool:
            indices = np.flatnonzero(indices)
        kept = indices.astype(np.int64)
        return Entities(
            self.size, [self.rles[k] for k in kept], self.scores[kept],
            forest if self.has_forest else None,
            None if self.given_levels is None else self.given_levels[kept])

    def above(self, score: float) -> 'Entities':
        """The masks of at least this score, in their order."""
        return self.subset(self.scores >= score)

    def best(self, count: int) -> 'Entities':
        """The masks with the highest scores, best first.

        Args:
            count: How many at most; equal scores keep their order.
        """
        return self.subset(np.argsort(-self.scores, kind='stable')[:count])

    def rows(self) -> list[dict[str, Any]]:
        """N annotations, their relations as positions.

        They have ``segmentation`` with text, ``bbox``, ``area`` and
        ``score``; ``parent`` and ``ancestors`` where there is a forest, and
        ``level`` where levels were given.
        """
        rows = [
            dict(segmentation=text_rle(rle), bbox=[int(side) for side in box],
                 area=int(area), score=round(float(score), 6))
            for rle, box, area, score in zip(
                self.rles, self.boxes(), self.areas(), self.scores)
        ]
        if self.has_forest:
            for row, parent, above in zip(rows, self.forest.parents,
                                          self.forest.ancestors.T):
                row['parent'] = int(parent) if parent >= 0 else None
                row['ancestors'] = np.flatnonzero(above).tolist()
        if self.given_levels is not None:
            for row, level in zip(rows, self.given_levels):
                row['level'] = int(level)
        return rows

    def to_coco(self, file_name: str = '', image_id: int = 1,
                ids: Sequence[int] | None = None) -> dict[str, Any]:
        """A COCO json of this image, which training reads as it is.

        An annotation has ``parent_id`` (null: a whole entity),
        ``ancestor_ids`` and ``score`` beside what COCO wants.

        Args:
            file_name: Of the image.
            image_id: Of the image.
            ids: N ids of the annotations; None: 1 to N.
        """
        if ids is None:
            ids = range(1, len(self) + 1)
        image = dict(id=image_id, file_name=file_name, width=self.size[1],
                     height=self.size[0])
        return dict(
            images=[image],
            annotations=list(number_rows(self.rows(), ids, image_id,
                                         iscrowd=0)),
            categories=[dict(ENTITY)])

    @classmethod
    def from_coco(cls, coco: Mapping[str, Any],
                  image_id: Any = None) -> 'Entities':
        """The entities of one image of a COCO json, crowd regions left out.

        Without any ``parent_id`` the forest is computed from coverage
        (section 3.1), as in training. Whole data sets are read by
        ``sohes.datasets.EntityIndex``.

        Args:
            coco: A json that was read, such as :meth:`to_coco` gives.
            image_id: Of the image; None: the only one.

        Raises:
            ValueError: There is no such image, or an annotation is broken.
        """
        for key in ('images', 'annotations'):
            if not isinstance(coco, Mapping) or not isinstance(
                    coco.get(key), list):
                raise ValueError(f'it is no COCO json: it has no list "{key}"')
        images = [image for image in coco['images']
                  if image_id is None or image.get('id') == image_id]
        if len(images) != 1:
            wanted = '' if image_id is None else f' with the id {image_id!r}'
            raise ValueError(f'the json has {len(images)} images{wanted}, '
                             'not one: give image_id')
        image_id = images[0].get('id')
        name = f'image {image_id!r:.200}'
        size = images[0].get('height'), images[0].get('width')
        check_image_size(*size)
        rows = [row for row in coco['annotations']
                if row.get('image_id') == image_id and not is_crowd(row)]
        if len(rows) > MOST_MASKS:
            raise ValueError(f'{name} has {len(rows)} masks, more than the '
                             f'{MOST_MASKS} that one image may have')
        rles = [_read_mask(row, size) for row in rows]
        levels = [row.get('level') for row in rows]
        return cls(size, rles, [row.get('score', 1.) for row in rows],
                   find_forest(rows, rles, name),
                   levels if levels and all(
                       is_whole(level, 0, 2) for level in levels) else None)


def _read_mask(row: Mapping[str, Any], size: tuple[int, int]
               ) -> dict[str, Any]:
    """The checked RLE of an annotation whose score is a number."""
    where = f'annotation {row.get("id")!r:.60}'
    if not is_number(row.get('score', 1.)):
        raise ValueError(f'{where}: its score must be a finite number, got '
                         f'{row["score"]!r:.60}')
    try:
        return checked_rle(row.get('segmentation'), size)
    except ValueError as error:
        raise ValueError(f'{where}: {error}') from error
