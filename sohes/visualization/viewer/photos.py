"""One photo with its forest, as the viewer takes it."""
import base64
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from sohes.structures import Entities, EntityForest
from sohes.structures.rles import decode_rles, text_rle
from sohes.utils.files import whole_file
from sohes.visualization.colors import forest_colors
from sohes.visualization.forest_picture import draw_forest
from sohes.visualization.save import save_picture

HERE = Path(__file__).resolve().parent
#: In the order in which a page loads them.
SCRIPTS = ('forest.js', 'viewer.js', 'paint.js')
#: Longest side of a photo in a page, in pixels; its masks keep theirs.
LARGEST = 2048


class Photo(Entities):
    """Entities with their photo: what a page, a picture and a json show.

    Args:
        name: of the photo's file, with the folders it lies in.
        image: (H, W, 3) uint8 RGB.
        rles: N compressed COCO RLEs of (H, W), ``counts`` bytes or text.
        forest: of the N masks; see :class:`~sohes.structures.Entities`.
        scores: (N,) any finite scale.
        image_id: what a json calls the photo.
        ids: N numbers of the masks, each once; None: 1 to N.
        levels: (N,) 0 whole, 1 part, 2 subpart, as a model predicted them;
            None: the depth in the forest says it.

    Raises:
        ValueError: these do not belong together.

    Examples:
        >>> Photo.of('photo.jpg', image, entities).save_picture('forest.jpg')
    """
    name: str
    image: np.ndarray
    image_id: int
    ids: list[int]

    def __init__(self, name: str, image: np.ndarray,
                 rles: Sequence[Mapping[str, Any]],
                 forest: EntityForest | None, scores: np.ndarray,
                 *, image_id: int = 1, ids: Sequence[int] | None = None,
                 levels: Sequence[int] | None = None,
                 counts: Mapping[str, int] | None = None) -> None:
        ids = range(1, len(rles) + 1) if ids is None else ids
        try:
            super().__init__(image.shape[:2], rles, scores, forest, levels,
                             counts or {})
            if len(ids) != len(rles):
                raise ValueError(f'{len(rles)} masks, but {len(ids)} ids')
        except ValueError as error:
            raise ValueError(f'{name}: {error}') from error
        for key, value in dict(name=name, image=image, image_id=image_id,
                               ids=[int(number) for number in ids]).items():
            object.__setattr__(self, key, value)

    @classmethod
    def of(cls, name: str, image: np.ndarray, found: Entities,
           image_id: int = 1, ids: Sequence[int] | None = None) -> 'Photo':
        """A photo and what was found in it."""
        return cls(name, image, found.rles,
                   found.forest if found.has_forest else None, found.scores,
                   image_id=image_id, ids=ids, levels=found.given_levels,
                   counts=found.counts)

    def subset(self, indices: Sequence[int]) -> 'Photo':
        """The photo with some of its masks; see :meth:`Entities.subset`."""
        return Photo.of(self.name, self.image, super().subset(indices),
                        self.image_id, np.array(self.ids, int)[indices])

    def to_coco(self) -> dict[str, Any]:
        """A COCO json of this photo, which training reads as it is."""
        return super().to_coco(self.name, self.image_id, self.ids)

    def save_json(self, path: str | Path) -> None:
        """Write :meth:`to_coco`, whole or not at all."""
        with whole_file(Path(path)) as file:
            json.dump(self.to_coco(), file)

    def draw(self) -> np.ndarray:
        """The photo, its masks by level and the tree, (H', W', 3) RGB.

        See :func:`~sohes.visualization.draw_forest`.
        """
        return draw_forest(self.image, self.rles, self.forest, self.scores,
                           levels=self.levels())

    def save_picture(self, path: str | Path) -> None:
        """Write :meth:`draw`, whole or not at all; .png as PNG, else JPEG."""
        save_picture(Path(path), self.draw())


def photo_record(photo: Photo, image_url: str) -> dict[str, Any]:
    """What ``forest.js`` describes, ready for ``json.dumps``.

    Args:
        photo: the photo and its masks.
        image_url: where a page finds the photo.
    """
    colors = forest_colors(photo.forest, photo.areas())
    more = {} if photo.given_levels is None else dict(
        levels=photo.given_levels.tolist())
    return dict(
        id=photo.image_id,
        name=photo.name,
        width=photo.size[1],
        height=photo.size[0],
        image=image_url,
        ids=photo.ids,
        parents=photo.forest.parents.tolist(),
        scores=[round(float(score), 6) for score in photo.scores],
        colors=['#' + bytes(color).hex() for color in colors.tolist()],
        counts=[text_rle(rle)['counts'] for rle in photo.rles],
        **more)


def jpeg(image: np.ndarray, longest: int = LARGEST) -> bytes:
    """A photo as a file that every browser shows.

    Args:
        image: (H, W, 3) uint8 RGB.
        longest: larger ones are scaled down to this many pixels a side.
    """
    from PIL import Image
    picture = Image.fromarray(image)
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    # Colours at full resolution: chroma that bleeds over an edge would make
    # an exact mask look displaced.
    picture.save(file, 'JPEG', quality=90, subsampling=0)
    return file.getvalue()


def photo_page(photo: Photo) -> str:
    """A page that shows one photo and needs no other file."""
    url = 'data:image/jpeg;base64,' + base64.b64encode(
        jpeg(photo.image)).decode('ascii')
    return Template((HERE / 'photo.html').read_text('utf-8')).substitute(
        title=escape(photo.name),
        style=(HERE / 'viewer.css').read_text('utf-8'),
        script='\n'.join(
            (HERE / name).read_text('utf-8') for name in SCRIPTS),
        record=script_json(photo_record(photo, url)))


def script_json(value: Any) -> str:
    """Json that may stand inside ``<script>``."""
    return json.dumps(value, separators=(',', ':')).replace('<', '\\u003c')


def photo_frame(photo: Photo, style: str) -> str:
    """The page of :func:`photo_page` inside another page.

    A frame keeps the two pages' styles, ids and keys apart, and its scripts
    run where those of inserted HTML do not.

    Args:
        photo: the photo and its masks.
        style: CSS of the frame.
    """
    return (f'<iframe class="sohes-viewer" title="forest of '
            f'{escape(photo.name)}" style="{escape(style)}" '
            f'srcdoc="{escape(photo_page(photo))}"></iframe>')


def write_masks(path: Path, photo: Photo) -> None:
    """Write a zip: ``labels.json`` and of each mask a PNG, ``masks/ID.png``.

    Args:
        path: of the zip, which appears whole or not at all.
        photo: the photo and its masks.
    """
    from PIL import Image
    with whole_file(path, binary=True) as target, zipfile.ZipFile(
            target, 'w') as archive:
        archive.writestr('labels.json', json.dumps(photo.to_coco()))
        for number, rle in zip(photo.ids, photo.rles):
            file = io.BytesIO()
            mask, = decode_rles([rle], photo.size)
            Image.fromarray(mask).save(file, 'PNG')
            archive.writestr(f'masks/{number:04d}.png', file.getvalue())
