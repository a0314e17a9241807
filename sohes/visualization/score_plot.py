"""AR@1000 of several methods on several datasets, as a picture."""
from collections.abc import Sequence
from pathlib import Path

from sohes.evaluation.score_table import MethodScores, dataset_title
from sohes.utils.files import whole_file

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
