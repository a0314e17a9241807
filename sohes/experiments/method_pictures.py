"""Pictures of an evaluation: AR as bars, and masks of each method."""
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sohes.evaluation.coco_files import EvaluationInput
from sohes.evaluation.forest_pairs import annotated_entities
from sohes.experiments.tables import MethodScores, dataset_title
from sohes.experiments.zero_shot import EvalDataset
from sohes.pseudo_labels.images import load_image
from sohes.structures import Entities, EntityForest
from sohes.utils.errors import ImageError, UsageError
from sohes.utils.files import whole_file
from sohes.utils.names import name_fault
from sohes.visualization.comparison import draw_comparison

#: Datasets beside each other.
COLUMNS = 4
#: Inches: a panel's width, a bar with its share of the gap, and the titles.
PANEL, BAR, TITLES = 3.1, 0.3, 0.75
QUOTED, OURS = '#c9c9c9', '#d9822b'


def plot_scores(path: str | Path, rows: Sequence[MethodScores],
                datasets: Sequence[str]) -> None:
    """Draw a panel of bars for each dataset; quoted ones are grey.

    Args:
        path: A PNG, whole or not at all.
        rows: Methods, as for the table.
        datasets: Names, in the order of panels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    rows = sorted(rows, key=lambda row: not row.quoted)
    columns = min(len(datasets), COLUMNS)
    lines = -(-len(datasets) // COLUMNS)
    names = [row.title for row in rows]
    margin = 0.35 + 0.085 * max(map(len, names))
    size = (margin + columns * PANEL + 0.2,
            lines * (len(rows) * BAR + TITLES) + 0.35)
    figure = Figure(size, dpi=150, layout='constrained')
    FigureCanvasAgg(figure)
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True,
                             sharex=True).ravel()
    values = [[row.masks.get(name, {}).get('AR@1000') for row in rows]
              for name in datasets]
    highest = max((v for column in values for v in column if v), default=1)
    for panel, name, column in zip(panels, datasets, values):
        bars = panel.barh(
            names, [value or 0 for value in column], height=0.72,
            color=[QUOTED if row.quoted else OURS for row in rows])
        panel.bar_label(bars, ['-' if value is None else f'{value:.1f}'
                               for value in column], padding=3, fontsize=8)
        panel.set_title(dataset_title(name), fontsize=10)
        panel.set_xlim(0, 1.18 * highest)
        panel.tick_params(labelsize=8, length=0, labelbottom=True)
        for side in ('top', 'right', 'left'):
            panel.spines[side].set_visible(False)
    panels[0].invert_yaxis()
    for panel in panels[len(datasets):]:
        panel.remove()
    figure.supxlabel('AR@1000, percent', fontsize=9)
    with whole_file(Path(path), binary=True) as file:
        figure.savefig(file, format='png')


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
