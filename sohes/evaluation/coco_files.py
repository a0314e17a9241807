"""Reads ground truth and predictions from COCO files, for the metrics.

Whatever is wrong with a file is said in one sentence that names the file and
the image or annotation.
"""
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sohes.evaluation.image_matching import (
    image_name,
    match_images,
    match_results,
    other_size,
)
from sohes.evaluation.mask_matching import ImageMasks
from sohes.structures import Entities
from sohes.structures.annotations import forest_of_rows
from sohes.structures.rles import rle_areas
from sohes.structures.segmentations import (
    MOST_MASKS,
    check_image_size,
    checked_rle,
    is_number,
    is_whole,
)
from sohes.utils.errors import FileError
from sohes.utils.json_guard import JsonGuard
from sohes.utils.json_rows import is_crowd


@dataclass
class EvaluationInput:
    """Ground truth and predictions of the same images.

    Attributes:
        images: The masks of each image of the ground truth, by rising id.
        rows: Each image as in the file, with ``annotations``; see
            :func:`read_ground_truth`.
        found: What is predicted on each of them; the forest is that which
            the predictions name.
        ignored_images: Images with predictions or listed in the predictions'
            file that the ground truth does not have.
        ignored_masks: Predictions on those.
        scores_missing: No prediction has a score, and each counts as 1.
    """
    images: list[ImageMasks]
    rows: list[dict]
    found: list[Entities]
    ignored_images: int = 0
    ignored_masks: int = 0
    scores_missing: bool = False


def read_evaluation_input(gt_path: str | Path,
                          pred_path: str | Path) -> EvaluationInput:
    """Reads both files and brings their images together.

    Images are matched by ``file_name`` when all images of both files have
    one, since ids can differ: the same path, else the only path of which one
    is the end of the other (``val/1.jpg`` and ``1.jpg``). Without names, and
    for a list of COCO results, by id.

    Args:
        gt_path: A COCO dataset json. All its classes become one; crowd
            regions as in COCO (which reads ``iscrowd`` and not ``ignore``).
        pred_path: A COCO dataset json with a ``score`` per annotation, as
            ``tools/generate_pseudo_labels.py`` writes, or a list of COCO
            results.

    Returns:
        The masks of every image of the ground truth.

    Raises:
        FileError: A file is missing or broken, an image is unknown or has
            another size than in the ground truth, a score is not a finite
            number.
    """
    rows = read_ground_truth(gt_path)
    result = EvaluationInput([], list(rows.values()), [])
    _add_predictions(pred_path, rows, result)
    result.images = [row['masks'].with_predictions(found)
                     for row, found in zip(result.rows, result.found)]
    return result


def read_ground_truth(path: str | Path) -> dict[Any, dict]:
    """Reads the ground truth alone.

    Args:
        path: As ``gt_path`` of :func:`read_evaluation_input`.

    Returns:
        By rising id the images as in the file, each with ``masks``, an
        :class:`ImageMasks`, and ``annotations``, those of the file in the
        same order.

    Raises:
        FileError: The file is missing or broken.
    """
    truth = _read_dataset(path)
    rows: dict[Any, dict] = {}
    for row in sorted(truth['images'], key=_sort_key):
        rows[row['id']] = {**row, 'masks': ImageMasks(), 'annotations': []}
    for number, annotation in enumerate(truth['annotations']):
        where = f'{path}: annotation {annotation.get("id", number)!r:.60}'
        row = _image_of(rows, annotation, where)
        rle = _to_rle(annotation, row, where)
        row['annotations'].append(annotation)
        row['masks'].gt_rles.append(rle)
        try:
            row['masks'].gt_crowd.append(is_crowd(annotation))
        except ValueError as error:
            raise FileError(f'{where}: {error}') from error
        # COCO goes by the area in the file, which is the polygon's.
        area = (annotation['area'] if 'area' in annotation else
                float(rle_areas([rle])[0]))
        if not is_number(area):
            raise FileError(f'{where}: the area must be a number of '
                            f'pixels, got {area!r:.60}')
        row['masks'].gt_areas.append(area)
    _refuse_crowded(path, rows.values(), lambda row: len(row['annotations']))
    return rows


def _add_predictions(path: str | Path, rows: dict[Any, dict],
                     result: EvaluationInput) -> None:
    """Reads the predictions into the images of the ground truth."""
    data = _read_json(path)
    listed = isinstance(data, list)
    if listed:
        annotations = _dicts(data, f'{path}: result')
        targets = match_results(path, annotations, rows)
    else:
        _check_dataset(path, data)
        annotations = data['annotations']
        targets = match_images(path, data['images'], rows)
        result.ignored_images = sum(t is None for t in targets.values())
    result.scores_missing = bool(annotations) and not any(
        'score' in annotation for annotation in annotations)
    by_image: dict[Any, list[tuple]] = {key: [] for key in rows}
    for number, annotation in enumerate(annotations):
        where = (f'{path}: result {number}' if listed else
                 f'{path}: annotation {annotation.get("id", number)!r:.60}')
        row = _image_of(targets, annotation, where)
        if row is None:
            result.ignored_masks += 1
            continue
        score = 1.0 if result.scores_missing else annotation.get('score')
        if not is_number(score):
            raise FileError(f'{where} on image {image_name(row)}: the score '
                            f'must be a finite number, got {score!r:.60}')
        by_image[row['id']].append(
            (annotation, _to_rle(annotation, row, where), float(score)))
    _refuse_crowded(path, result.rows, lambda row: len(by_image[row['id']]))
    for row in result.rows:
        here = by_image[row['id']]
        try:
            forest = forest_of_rows([annotation for annotation, _, _ in here],
                                    f'image {image_name(row)}')
        except ValueError as error:
            raise FileError(f'{path}: {error}') from error
        result.found.append(Entities(
            (row['height'], row['width']), [rle for _, rle, _ in here],
            [score for _, _, score in here], forest))


def _to_rle(annotation: dict, row: dict, where: str) -> dict:
    """A segmentation as compressed RLE.

    Args:
        annotation: With ``segmentation``: polygons, runs, or compressed RLE.
        row: The image, with ``height`` and ``width``.
        where: File and annotation, for messages.

    Raises:
        FileError: It is none of these, or of another size than the image.
    """
    found = annotation.get('segmentation')
    size = row['height'], row['width']
    where = f'{where} on image {image_name(row)}'
    sides = found.get('size') if isinstance(found, dict) else None
    if isinstance(sides, list) and len(sides) == 2 and all(
            map(is_whole, sides)) and tuple(sides) != size:
        raise FileError(other_size(where, sides, row))
    try:
        return checked_rle(found, size)
    except FileError as error:
        raise FileError(f'{where}: {error}') from error


def _read_json(path: str | Path) -> Any:
    try:
        text = Path(path).read_bytes()
        JsonGuard().feed(text)
        return json.loads(text.decode('utf-8-sig'))
    except OSError as error:
        raise FileError(f'{path}: {error.strerror}') from error
    except FileError as error:
        raise FileError(f'{path} cannot be read: {error}') from error
    except ValueError as error:
        raise FileError(f'{path} is not json: {error}') from error


def _read_dataset(path: str | Path) -> dict:
    """Reads and checks the ground truth."""
    data = _read_json(path)
    _check_dataset(path, data)
    if not data['images']:
        raise FileError(f'{path} has no images')
    for image in data['images']:
        for key in ('height', 'width'):
            if not is_whole(image.get(key), 1):
                raise FileError(
                    f'{path}: image {image_name(image)} needs a {key} in '
                    f'pixels, got {image.get(key)!r:.60}')
        try:
            check_image_size(image['height'], image['width'])
        except FileError as error:
            raise FileError(
                f'{path}: image {image_name(image)}: {error}') from error
    return data


def _check_dataset(path: str | Path, data: Any) -> None:
    """A COCO dataset: lists of images, with distinct ids, and annotations."""
    for key in ('images', 'annotations'):
        if not isinstance(data, dict) or not isinstance(data.get(key), list):
            raise FileError(f'{path} is no COCO dataset: it has no list '
                            f'"{key}"')
        _dicts(data[key], f'{path}: {key}')
    seen = set()
    for image in data['images']:
        if not _is_id(image.get('id')):
            raise FileError(f'{path}: image {image_name(image)} needs an '
                            f'id, got {image.get("id")!r:.60}')
        if not isinstance(image.get('file_name', ''), (str, type(None))):
            raise FileError(f'{path}: image {image["id"]!r:.200} needs a text '
                            f'"file_name", got {image["file_name"]!r:.60}')
        if image['id'] in seen:
            raise FileError(f'{path}: the image id {image["id"]!r:.60} comes '
                            'twice')
        seen.add(image['id'])


def _dicts(rows: list, where: str) -> list[dict]:
    """The same list, once every row is found to be an object."""
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise FileError(f'{where} {number} is no object: {row!r:.60}')
    return rows


def _image_of(rows: dict[Any, Any], annotation: dict, where: str) -> Any:
    """What the file has under the image id of an annotation."""
    image_id = annotation.get('image_id')
    if not _is_id(image_id) or image_id not in rows:
        raise FileError(f'{where} is on image {image_id!r:.60}, which the '
                        'file does not list')
    return rows[image_id]


def _is_id(value: Any) -> bool:
    return is_whole(value) or isinstance(value, str)


def _refuse_crowded(path: str | Path, rows: Iterable[dict],
                    counts: Callable[[dict], int]) -> None:
    """An image with more masks than tables of all pairs have room for."""
    for row in rows:
        if counts(row) > MOST_MASKS:
            raise FileError(
                f'{path}: image {image_name(row)} has {counts(row)} masks, '
                f'more than the {MOST_MASKS} that one image may have')


def _sort_key(image: dict) -> tuple:
    """Numbers before text; pycocotools goes through images by rising id."""
    return isinstance(image['id'], str), image['id']
