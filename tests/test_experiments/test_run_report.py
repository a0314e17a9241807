"""The page about a finished run."""
import json
import re

from PIL import Image

from sohes.experiments.run_report import Stage, plot_losses, write_report
from sohes.utils.scalars import read_scalars


def test_every_stage_and_picture_is_on_the_page(tmp_path):
    losses = plot_losses(tmp_path / 'report/loss.png', [(1, 3.0), (2, 1.5)])
    assert Image.open(losses).size == (1350, 390)
    write_report(
        tmp_path / 'report.html', 'SOHES on a & b', [
            Stage('phase1', 'labels.json', 75, '<4> images'),
            Stage('phase2', 'phase2/iter_4.pth', 5400, starts=2)
        ], [('x<y.png: labels', 'report/loss.png')])
    page = (tmp_path / 'report.html').read_text()
    assert page.count('<h1>SOHES on a &amp; b</h1>') == 1
    rows = re.findall('<tr><td>(.*?)</td></tr>', page)
    assert rows == [
        'phase1</td><td><code>labels.json</code></td><td>75 s</td><td>'
        '&lt;4&gt; images',
        'phase2</td><td><code>phase2/iter_4.pth</code></td>'
        '<td>1.5 h, start 2 alone</td><td>']
    assert 'src="report/loss.png" alt="x&lt;y.png: labels"' in page
    assert '$' not in page


def test_scalars_of_a_run_that_was_killed(tmp_path):
    for start, lines in (('1', ['{"loss": 4.0, "step": 1}',
                                '{"loss": 3.0, "step": 2}',
                                '{"AR": 1.0, "step": 2}',
                                '{"loss": 2.0, "st']),
                         ('2', ['{"loss": 2.5, "step": 2}'])):
        path = tmp_path / start / 'vis_data/scalars.json'
        path.parent.mkdir(parents=True)
        path.write_text('\n'.join(lines))
    assert read_scalars(tmp_path, 'loss') == [
        json.loads(line) for line in ('{"loss": 4.0, "step": 1}',
                                      '{"loss": 2.5, "step": 2}')]
    assert read_scalars(tmp_path / 'none', 'loss') == []


def test_the_page_begins_with_the_answer(tmp_path):
    path = tmp_path / 'report.html'
    write_report(path, 'title', [], [], 'Better: 6 > 5.',
                 [['', 'masks'], ['<labels>', '5'], ['model', '6']])
    page = path.read_text()
    begin = page.index('</h1>')
    assert page[begin:].startswith(
        '</h1>\n<p>Better: 6 &gt; 5.</p>\n<table>\n'
        '<tr><th></th><th>masks</th></tr>\n'
        '<tr><td>&lt;labels&gt;</td><td>5</td></tr>\n'
        '<tr><td>model</td><td>6</td></tr>\n</table>\n<table><tr><th>stage')
    write_report(path, 'title', [], [])
    assert '<p>' not in path.read_text()
