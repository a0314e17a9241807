"""Which photos and masks of an evaluation go into a picture."""
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sohes.evaluation.coco_files import EvaluationInput
from sohes.evaluation.forest_pairs import annotated_entities
from sohes.experiments.zero_shot import EvalDataset
from sohes.pseudo_labels.images import load_image
from sohes.structures import Entities, EntityForest
from sohes.utils.errors import ImageError, UsageError
from sohes.utils.files import whole_file
from sohes.utils.names import name_fault
from sohes.visualization.comparison import draw_comparison


def save_comparison(path: Path, dataset: EvalDataset,
                    methods: Sequence[tuple[str, EvaluationInput]],
                    count: int = 5, most: int = 100) -> None:
    """Draw photos, their ground truth and each method's best masks.

    Args:
        path: A PNG, whole or not at all.
        dataset: Where the photos are.
        methods: Names, and what was read for them.
        count: Photos, taken evenly from those that have masks to find and
            at least one prediction of every method; of the others if there
            are none.
        most: Masks of a method that are drawn, the best first.

    Raises:
        UsageError: A photo cannot be read or is of another size.
    """
    from PIL import Image
    rows = methods[0][1].rows
    found = [n for n, row in enumerate(rows) if row['annotations']]
    shown = [n for n in found
             if all(data.images[n].rles for _, data in methods)]
    chosen = shown or found or list(range(len(rows)))
    places = np.linspace(0, len(chosen) - 1, min(count, len(chosen)))
    cells = []
    for number in (chosen[round(place)] for place in places):
        row = rows[number]
        name = row.get('file_name') or str(row['id'])
        fault = name_fault(name)
        if fault:
            raise UsageError(f'{dataset.ann_file} has the image '
                             f'{name!r:.200}: {fault}')
        image = _load(Path(dataset.img_dir, name), row, dataset)
        truth = annotated_entities(row, dataset.ann_file)
        cells.append((Path(name).name, image, [
            (truth, f'{len(truth)} masks'),
            *(_best(data, number, most) for _, data in methods)
        ]))
    picture = draw_comparison(
        ['ground truth', *(name for name, _ in methods)], cells)
    with whole_file(path, binary=True) as file:
        Image.fromarray(picture).save(file, 'PNG')


def _best(data: EvaluationInput, number: int,
          most: int) -> tuple[Entities, str]:
    """The best masks of one method on one image, and what to write."""
    found = data.found[number]
    best, caption = found.best(most), f'{len(found)} masks'
    if len(best) < len(found):
        caption = f'the best {most} of {caption}'
    if not best.has_forest:
        best = replace(best, forest=EntityForest.from_masks(best.rles))
    return best, caption


def _load(path: Path, row: dict, dataset: EvalDataset) -> np.ndarray:
    try:
        image = load_image(str(path))
    except ImageError as error:
        raise UsageError(f'{dataset.name}: {error}') from error
    if image.shape[:2] != (row['height'], row['width']):
        raise UsageError(
            f'{path} is {image.shape[1]} x {image.shape[0]} pixels, in '
            f'{dataset.ann_file} {row["width"]} x {row["height"]}')
    return image
