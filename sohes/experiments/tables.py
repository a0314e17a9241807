"""Tables as the paper's, as markdown, the paper's own rows beside ours."""
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sohes.evaluation.resampling import FEWEST_IMAGES, SAMPLES, interval

#: Columns of the paper's Tables 4 and 5, in its order, by our names.
PAPER_COLUMNS = {
    'AP': 'AP@1000',
    'AR_S': 'AR_S',
    'AR_M': 'AR_M',
    'AR_L': 'AR_L',
    'AR@1000': 'AR@1000',
    'masks/image': 'masks/image',
}
FOREST_COLUMNS = ('precision', 'recall', 'F1', 'parent_accuracy', 'pairs')
_QUOTED = Path(__file__).with_name('paper_results.json')


@dataclass
class MethodScores:
    """What one method reaches.

    Attributes:
        method: Its name.
        quoted: The figures are the paper's, not counted here.
        masks: By dataset the metrics of masks by name, in percent; None:
            the ground truth has no such mask.
        forests: By dataset the metrics of the forest, in percent; only
            where there is a predicted forest to compare.
        resampled: By dataset the AR of :func:`resampled_ar`.
    """
    method: str
    quoted: bool = False
    masks: dict[str, dict[str, float | None]] = field(default_factory=dict)
    forests: dict[str, dict[str, float]] = field(default_factory=dict)
    resampled: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name, with its mark."""
        return f'{self.method} (quoted)' if self.quoted else self.method


@lru_cache
def _paper() -> dict[str, Any]:
    return json.loads(_QUOTED.read_text(encoding='utf-8'))


def ablation_tables() -> dict[str, tuple[str, list[dict[str, Any]]]]:
    """By name, the title and the paper's rows, on SA-1B."""
    return {
        name: (table['title'],
               [dict(zip(table['columns'], row)) for row in table['rows']])
        for name, table in _paper()['ablations'].items()
    }


def quoted_scores(datasets: Iterable[str]) -> list[MethodScores]:
    """The paper's rows for those of the datasets that it has.

    Args:
        datasets: Names such as 'coco'; see paper_results.json.

    Returns:
        SAM, FreeSOLO, CutLER, HASSOD and SOHES, or nothing.
    """
    rows: dict[str, MethodScores] = {}
    columns = _paper()['columns']
    for name in datasets:
        for method, values in _paper()['datasets'].get(name, {}).items():
            if isinstance(values, list):
                row = rows.setdefault(method, MethodScores(method, True))
                row.masks[name] = dict(zip(columns, values))
    return list(rows.values())


def dataset_title(name: str) -> str:
    """What the paper calls a dataset, else its own name."""
    return _paper()['datasets'].get(name, {}).get('title', name)


def markdown(rows: Sequence[MethodScores], datasets: Sequence[str],
             notes: Sequence[str] = ()) -> str:
    """The tables as markdown.

    Args:
        rows: Methods; those quoted come first.
        datasets: Names, in the order of columns.
        notes: Lines to put under the tables.

    Returns:
        A table like the paper's Table 1, one like its Tables 4 and 5 for
        each dataset, one of the forests where any was compared, and one of
        the AR of resampled images, minus that of the first method.
    """
    rows = sorted(rows, key=lambda row: not row.quoted)
    lines = ['## AR@1000', '']
    lines += _table(['method', *map(dataset_title, datasets)], [[
        row.title, *(_cell(row.masks.get(name, {}).get('AR@1000'))
                     for name in datasets)
    ] for row in rows])
    for name in datasets:
        lines += ['', f'## {dataset_title(name)}', '']
        lines += _table(['method', *PAPER_COLUMNS], [[
            row.title,
            *(_cell(row.masks[name].get(paper if row.quoted else ours))
              for paper, ours in PAPER_COLUMNS.items())
        ] for row in rows if name in row.masks])
    if any(row.forests for row in rows):
        lines += ['', '## Forest', '']
        lines += _table(['method', 'dataset', *FOREST_COLUMNS], [[
            row.title, dataset_title(name),
            *(_cell(row.forests[name][column]) for column in FOREST_COLUMNS)
        ] for row in rows for name in datasets if name in row.forests])
    counted = [row for row in rows if row.resampled]
    if counted:
        first = counted[0]
        lines += ['', '## AR@1000 of other draws of the images', '']
        lines += _table(
            ['method', 'dataset', 'AR@1000', '95 % of the draws',
             f'minus {first.method}', '95 % of the differences'],
            [_resampled(row, first, name) for row in counted
             for name in datasets if name in row.resampled])
        notes = (f'Draws: {SAMPLES} times as many images, with replacement '
                 '(bootstrap), the same for all methods; of datasets of at '
                 f'least {FEWEST_IMAGES} images. They say how much depends on '
                 'the images, not on the training.', *notes)
    if any(row.quoted for row in rows):
        notes = (f'quoted: from {_paper()["source"]}, not counted here; of '
                 'AP it does not say with how many predictions an image.',
                 *notes)
    notes = ('Class-agnostic, in percent, IoU 0.50:0.95, up to 1000 '
             'predictions an image.', *notes)
    lines += ['', *(f'- {note}' for note in notes)]
    return '\n'.join(lines) + '\n'


def _resampled(row: MethodScores, first: MethodScores,
               name: str) -> list[str]:
    """A row of the table: a method on a dataset, and minus the first."""
    gain = _gain(row, first, name)
    return [row.title, dataset_title(name),
            _cell(row.masks[name].get('AR@1000')),
            _span(interval(row.resampled[name])),
            *(('', '') if gain is None else
              (_cell(gain[0]), _span(gain[1:])))]


def _gain(row: MethodScores, first: MethodScores,
          name: str) -> tuple[float, float, float] | None:
    """A method's AR minus the first's, and its interval."""
    if row is first or name not in first.resampled:
        return None
    ours, theirs = (r.masks[name]['AR@1000'] for r in (row, first))
    if ours is None or theirs is None:
        return None
    return (ours - theirs,
            *interval(row.resampled[name] - first.resampled[name]))


def _span(bounds: Sequence[float]) -> str:
    return ' to '.join(map(_cell, bounds))


def as_json(rows: Sequence[MethodScores]) -> list[dict[str, Any]]:
    """The same as plain data; what is not a number becomes None."""
    def plain(values: dict[str, dict]) -> dict[str, dict]:
        return {
            name: {key: None if value is None or math.isnan(value) else value
                   for key, value in scores.items()}
            for name, scores in values.items()
        }
    def draws(row: MethodScores) -> dict[str, dict]:
        return {
            name: dict(zip(
                ('low', 'high', 'gain', 'gain_low', 'gain_high'),
                (*interval(values),
                 *(_gain(row, counted[0], name) or ()))))
            for name, values in row.resampled.items()
        }

    counted = [row for row in rows if row.resampled]
    return [
        dict(method=row.method, quoted=row.quoted, masks=plain(row.masks),
             forests=plain(row.forests), ar_draws=plain(draws(row)))
        for row in rows
    ]


def ablations_markdown(tables: dict[str, list[dict[str, Any]]],
                       captions: dict[str, str]) -> str:
    """Tables of ablations, each with the paper's below it, marked as quoted.

    Args:
        tables: Our rows by the name in :func:`ablation_tables`.
        captions: Weights and photos of our rows, by the same names.
    """
    parts = []
    for name, rows in tables.items():
        title, quoted = ablation_tables()[name]
        parts += [f'## {title}', f'Ours: {captions[name]}.',
                  markdown_table(rows),
                  "Quoted from the paper: SA-1B, DINO's ViT-B"
                  f'{"" if name == "weights" else "/8"}.',
                  markdown_table(quoted)]
    return '\n\n'.join(parts) + '\n'


def markdown_table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows with the same columns; one that was not run says why."""
    columns = list(next(row for row in rows if 'not_run' not in row))
    lines = [columns, ['---'] * len(columns)]
    for row in rows:
        cells = [_text(row.get(column, '')) for column in columns]
        if 'not_run' in row:
            heads = [column for column in columns if column in row]
            # The first sentence; the json has it all.
            reason = row['not_run'].split('. ')[0].replace('|', '/')
            cells[len(heads)] = f'not run: {reason}'
        lines.append(cells)
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a markdown table, padded so that it reads as text too."""
    cells = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    # Names to the left, numbers to the right.
    rule = ['-' * widths[0], *('-' * (w - 1) + ':' for w in widths[1:])]
    cells.insert(1, rule)
    return [
        '| ' + ' | '.join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths))) + ' |'
        for row in cells
    ]


def _cell(value: float | int | None) -> str:
    if value is None or math.isnan(value):
        return '-'
    return str(value) if isinstance(value, int) else f'{value:.1f}'


def _text(value: Any) -> str:
    """A cell that may hold words."""
    return _cell(value) if isinstance(value, float | None) else str(value)
