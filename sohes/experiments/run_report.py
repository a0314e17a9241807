"""One page about a finished run, to open in a browser without a server."""
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from sohes.pseudo_labels.images import load_image
from sohes.utils.files import whole_file
from sohes.utils.photo_files import spaced
from sohes.utils.scalars import read_scalars

_PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem;
       margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 }
td, th { padding: .3rem 1rem .3rem 0; text-align: left;
         border-bottom: 1px solid #ddd }
figure { margin: 2rem 0 } img { width: 100% }
figcaption { color: #555 } code { background: #f4f4f4; padding: 0 .2rem }
</style>
<h1>$title</h1>
$head
<table><tr><th>stage</th><th>output</th><th>time</th><th></th></tr>
$rows
</table>
$figures
</html>
""")
_ROW = Template('<tr><td>$name</td><td><code>$output</code></td>'
                '<td>$time</td><td>$note</td></tr>')
_FIGURE = Template('<figure><img src="$file" alt="$text">'
                   '<figcaption>$text</figcaption></figure>')


@dataclass(frozen=True)
class Stage:
    """A stage of a run: its name, what it made, and what it says of it.

    The seconds are of the last of its starts; what was done before a kill is
    not counted.
    """
    name: str
    output: str
    seconds: float
    note: str = ''
    starts: int = 1

    @property
    def time(self) -> str:
        """'12 min', and of which start where there were several."""
        times = '' if self.starts == 1 else f', start {self.starts} alone'
        return f'{_duration(self.seconds)}{times}'


def write_report(path: Path, title: str, stages: Sequence[Stage],
                 pictures: Sequence[tuple[str, str]], answer: str = '',
                 table: Sequence[Sequence[str]] = ()) -> None:
    """Write the page, whole or not at all.

    Args:
        path: an .html.
        title: of the page, plain text.
        stages: a row of the table each.
        pictures: a caption, and a file relative to the page each.
        answer: what the page begins with, plain text.
        table: of the numbers behind it, its head first.
    """
    with whole_file(path) as file:
        file.write(_PAGE.substitute(
            title=html.escape(title),
            head=_head(answer, table),
            rows=_fill(_ROW, [
                dict(name=s.name, output=s.output, time=s.time, note=s.note)
                for s in stages]),
            figures=_fill(_FIGURE, [
                dict(text=text, file=file) for text, file in pictures])))


def entity_pictures(folder: Path, photos: Path, index: Any,
                    inferencer: Any, count: int) -> list[tuple[str, Path]]:
    """Phase 1's labels and a model's predictions of a few photos.

    Args:
        folder: gets the pictures.
        photos: the folder of the photos.
        index: an :class:`~sohes.datasets.EntityIndex` of the labels.
        inferencer: an :class:`~sohes.apis.EntityInferencer`.
        count: photos at most.

    Returns:
        Captions and pictures, two a photo.
    """
    from sohes.apis.photo_entities import inferencer_finder
    from sohes.visualization import save_forest_picture
    find = inferencer_finder(inferencer)
    pictures = []
    for position in spaced(range(len(index.images)), count):
        name = index.file_name(position)
        image = load_image(photos / name)
        labels, found = index.entities(position).read(), find(image)
        pictures += [
            (f'{name}: labels of Phase 1', save_forest_picture(
                folder / 'labels', name, image, labels.rles,
                labels.forest)),
            (f'{name}: predictions of at least 0.3 of the model',
             save_forest_picture(
                 folder / 'model', name, image, found.rles,
                 found.forest, found.scores))
        ]
    return pictures


def loss_pictures(out: Path) -> list[tuple[str, Path]]:
    """The losses of both trainings in a folder, where they were logged."""
    curves = []
    for phase in (2, 3):
        losses = [(line['step'], line['loss'])
                  for line in read_scalars(out / f'phase{phase}', 'loss')]
        if losses:
            curves.append((f'Phase {phase}: loss', plot_losses(
                out / f'report/loss{phase}.png', losses)))
    return curves


def plot_losses(path: Path, losses: Sequence[tuple[int, float]]) -> Path:
    """Draw a training's loss over its iterations.

    Args:
        path: a .png, whole or not at all; its folder is made.
        losses: (iteration, loss), at least one.

    Returns:
        Path: the picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    figure = Figure((9, 2.6), dpi=150, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot(*zip(*losses), color='#2a7fba', marker='.',
              markersize=2 if len(losses) > 50 else 6)
    axes.set(xlabel='iteration', ylabel='loss')
    axes.set_ylim(bottom=0)
    axes.spines[['top', 'right']].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, binary=True) as file:
        figure.savefig(file, format='png')
    return path


def _head(answer: str, table: Sequence[Sequence[str]]) -> str:
    """A paragraph and a table, where there is something to say."""
    rows = [
        '<tr>' + ''.join(f'<{tag}>{html.escape(cell)}</{tag}>'
                         for cell in row) + '</tr>'
        for tag, row in zip(['th', *['td'] * len(table)], table)
    ]
    return (f'<p>{html.escape(answer)}</p>\n' if answer else '') + (
        '\n'.join(['<table>', *rows, '</table>']) if rows else '')


def _fill(template: Template, rows: Sequence[dict[str, str]]) -> str:
    """The template once for each row, plain text made safe for html."""
    return '\n'.join(
        template.substitute({key: html.escape(value)
                             for key, value in row.items()}) for row in rows)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    return f'{minutes} min' if minutes < 90 else f'{minutes / 60:.1f} h'
