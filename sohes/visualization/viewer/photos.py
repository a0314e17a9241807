"""One photo with its forest, as the viewer takes it."""
import base64
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from sohes.structures import EntityForest
from sohes.structures.mask_ops import text_rle
from sohes.utils.files import whole_file
from sohes.visualization.colors import forest_colors
from sohes.visualization.forest_picture import draw_forest
from sohes.visualization.save import save_picture

HERE = Path(__file__).resolve().parent
#: In the order in which a page loads them.
SCRIPTS = ('forest.js', 'viewer.js', 'paint.js')
#: Longest side of a photo in a page, in pixels; its masks keep theirs.
LARGEST = 2048


@dataclass(frozen=True)
class Photo:
    """A photo and its masks.

    Attributes:
        name: of the photo's file, with the folders it lies in.
        image: (H, W, 3) uint8 RGB.
        rles: N compressed COCO RLEs of (H, W), ``counts`` bytes or text.
        forest: of the N masks.
        scores: (N,) any finite scale.
        image_id: what a json calls the photo.
        ids: N numbers of the masks, each once; None: 1 to N.
        levels: (N,) 0 whole, 1 part, 2 subpart, as a model predicted them;
            None: the depth in the forest says it.

    Raises:
        ValueError: these do not belong together.
    """
    name: str
    image: np.ndarray
    rles: Sequence[Mapping[str, Any]]
    forest: EntityForest
    scores: np.ndarray
    image_id: int = 1
    ids: Sequence[int] | None = None
    levels: Sequence[int] | None = None

    def __post_init__(self) -> None:
        counts = {len(self.rles), len(self.forest), len(self.scores),
                  len(self.rles if self.ids is None else self.ids),
                  len(self.rles if self.levels is None else self.levels)}
        if len(counts) > 1:
            raise ValueError(
                f'{self.name}: {len(self.rles)} masks, a forest of '
                f'{len(self.forest)}, {len(self.scores)} scores')
        size = tuple(self.image.shape[:2])
        for rle in self.rles:
            if tuple(rle['size']) != size:
                raise ValueError(
                    f'{self.name} is {size[1]} x {size[0]} pixels, its masks '
                    f'are {rle["size"][1]} x {rle["size"][0]}')

    def masks(self) -> np.ndarray:
        """(N, H, W) bool, decoded."""
        from pycocotools import mask as coco_mask
        masks = np.zeros((len(self.rles), *self.image.shape[:2]), bool)
        for mask, rle in zip(masks, self.rles):
            mask[:] = coco_mask.decode(dict(rle))
        return masks

    def to_coco(self) -> dict[str, Any]:
        """A COCO json of this photo, which training reads as it is.

        An annotation has ``parent_id`` (null: a whole entity),
        ``ancestor_ids`` and ``score`` beside what COCO wants.
        """
        labels = coco_labels(photo_record(self, ''))
        annotations = labels['annotations']
        for annotation, above in zip(annotations, self.forest.ancestors.T):
            annotation['ancestor_ids'] = [
                annotations[k]['id'] for k in np.flatnonzero(above)]
        return labels

    def save_json(self, path: str | Path) -> None:
        """Write :meth:`to_coco`, whole or not at all."""
        with whole_file(Path(path)) as file:
            json.dump(self.to_coco(), file)

    def draw(self) -> np.ndarray:
        """The photo, its masks by level and the tree, (H', W', 3) RGB.

        See :func:`~sohes.visualization.draw_forest`.
        """
        levels = None if self.levels is None else np.asarray(self.levels)
        return draw_forest(self.image, self.rles, self.forest, self.scores,
                           levels=levels)

    def save_picture(self, path: str | Path) -> None:
        """Write :meth:`draw` as a JPEG, whole or not at all."""
        save_picture(Path(path), self.draw())


def photo_record(photo: Photo, image_url: str) -> dict[str, Any]:
    """What ``forest.js`` describes, ready for ``json.dumps``.

    Args:
        photo: the photo and its masks.
        image_url: where a page finds the photo.
    """
    from pycocotools import mask as coco_mask
    rles = [dict(rle) for rle in photo.rles]
    areas = np.array([coco_mask.area(rle) for rle in rles], np.int64)
    colors = forest_colors(photo.forest, areas)
    ids = range(1, len(rles) + 1) if photo.ids is None else photo.ids
    more = {} if photo.levels is None else dict(
        levels=[int(level) for level in photo.levels])
    return dict(
        id=photo.image_id,
        name=photo.name,
        width=photo.image.shape[1],
        height=photo.image.shape[0],
        image=image_url,
        ids=[int(number) for number in ids],
        parents=photo.forest.parents.tolist(),
        scores=[round(float(score), 6) for score in photo.scores],
        colors=['#' + bytes(color).hex() for color in colors.tolist()],
        counts=[text_rle(rle)['counts'] for rle in rles],
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
    from pycocotools import mask as coco_mask
    record = photo_record(photo, '')
    with whole_file(path, binary=True) as target, zipfile.ZipFile(
            target, 'w') as archive:
        archive.writestr('labels.json', json.dumps(photo.to_coco()))
        for number, rle in zip(record['ids'], photo.rles):
            file = io.BytesIO()
            mask = coco_mask.decode(dict(rle)).astype(bool)
            Image.fromarray(mask).save(file, 'PNG')
            archive.writestr(f'masks/{number:04d}.png', file.getvalue())


def coco_labels(record: Mapping[str, Any]) -> dict[str, Any]:
    """The COCO json of a :func:`photo_record`, as the viewer saves it."""
    from pycocotools import mask as coco_mask
    rles = [dict(size=[record['height'], record['width']], counts=counts)
            for counts in record['counts']]
    annotations = [
        dict(
            id=number,
            image_id=record['id'],
            category_id=1,
            iscrowd=0,
            area=int(coco_mask.area(rle)),
            bbox=coco_mask.toBbox(rle).tolist(),
            score=score,
            parent_id=None if parent < 0 else record['ids'][parent],
            segmentation=rle)
        for number, parent, score, rle in zip(
            record['ids'], record['parents'], record['scores'], rles)
    ]
    for annotation, level in zip(annotations, record.get('levels') or []):
        annotation['level'] = level
    image = dict(id=record['id'], file_name=record['name'],
                 width=record['width'], height=record['height'])
    return dict(images=[image], annotations=annotations,
                categories=[dict(id=1, name='entity')])
