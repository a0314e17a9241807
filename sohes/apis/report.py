"""One page about a finished run, to open in a browser without a server."""
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sohes.utils.files import whole_file

_LOSS = re.compile(r'Iter\(train\) \[ *(\d+)/\d+\].*? loss: ([0-9.]+)')
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem;
       margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 }
td, th { padding: .3rem 1rem .3rem 0; text-align: left;
         border-bottom: 1px solid #ddd }
figure { margin: 2rem 0 } img { width: 100% } svg { width: 100% }
figcaption { color: #555 } code { background: #f4f4f4; padding: 0 .2rem }
"""


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
                 curves: Sequence[tuple[str, Sequence[tuple[int, float]]]],
                 pictures: Sequence[tuple[str, str]]) -> None:
    """Write the page, whole or not at all.

    Args:
        path: an .html.
        title: of the page, plain text.
        stages: a row of the table each.
        curves: a title, and (iteration, loss) of a training each.
        pictures: a caption, and a file relative to the page each.
    """
    rows = ''.join(
        f'<tr><td>{html.escape(s.name)}</td>'
        f'<td><code>{html.escape(s.output)}</code></td>'
        f'<td>{s.time}</td><td>{html.escape(s.note)}</td></tr>'
        for s in stages)
    plots = ''.join(
        f'<figure>{_plot(points)}<figcaption>{html.escape(name)}'
        '</figcaption></figure>' for name, points in curves if points)
    figures = ''.join(
        f'<figure><img src="{html.escape(file)}" alt="{html.escape(text)}">'
        f'<figcaption>{html.escape(text)}</figcaption></figure>'
        for text, file in pictures)
    with whole_file(path) as file:
        file.write(
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            f'<title>{html.escape(title)}</title><style>{_STYLE}</style>'
            f'<h1>{html.escape(title)}</h1><table><tr><th>stage</th>'
            f'<th>output</th><th>time</th><th></th></tr>{rows}</table>'
            f'{plots}{figures}</html>\n')


def read_losses(work_dir: Path) -> list[tuple[int, float]]:
    """(iteration, loss) of a training run, also of one that was resumed.

    Args:
        work_dir: of ``tools/train.py``; its logs are read in their order,
            a later one counts where two have the same iteration.
    """
    losses: dict[int, float] = {}
    for log in sorted(work_dir.glob('*/*.log')):
        text = log.read_text(encoding='utf-8', errors='replace')
        losses.update(
            (int(step), float(loss)) for step, loss in _LOSS.findall(text))
    return sorted(losses.items())


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    return f'{minutes} min' if minutes < 90 else f'{minutes / 60:.1f} h'


def _plot(points: Sequence[tuple[int, float]]) -> str:
    """A line as SVG, with the first and last values at its ends."""
    width, height, margin = 900, 220, 30
    steps = [step for step, _ in points]
    losses = [loss for _, loss in points]
    top, right = max(losses) or 1.0, max(steps)
    left = min(steps)
    line = ' '.join(
        f'{margin + (step - left) / max(right - left, 1) * (width - 120):.1f},'
        f'{height - margin - loss / top * (height - 2 * margin):.1f}'
        for step, loss in points)
    x, y = map(float, line.split()[-1].split(','))
    return (
        f'<svg viewBox="0 0 {width} {height}" font-size="14" fill="#555">'
        f'<line x1="{margin}" x2="{width - 90}" y1="{height - margin}" '
        f'y2="{height - margin}" stroke="#ddd"/>'
        f'<polyline points="{line}" fill="none" stroke="#2a7fba" '
        'stroke-width="2"/>'
        f'<text x="{margin}" y="{margin - 12}">loss {losses[0]:.3g}</text>'
        f'<text x="{x + 8}" y="{y}">{losses[-1]:.3g}</text>'
        f'<text x="{margin}" y="{height - 8}">{left}</text>'
        f'<text x="{x}" y="{height - 8}" text-anchor="end">{right} iterations'
        '</text></svg>')
