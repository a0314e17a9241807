"""Commands in pages, docstrings and help texts parse, with their keys."""
import argparse
import re
import runpy
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from sohes.apis.generate import phase1_config
from sohes.apis.generate import read_config as read_phase1
from sohes.apis.run_config import read_config
from sohes.pseudo_labels.refinement import build_refiner
from tests.written_commands import (
    ROOT,
    check_command,
    commands_of_page,
    commands_of_program,
    script_and_arguments,
)

PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
PROGRAMS = sorted(path for folder in ('tools', 'demo', 'benchmarks',
                                      'configs', 'projects')
                  for path in (ROOT / folder).rglob('*.py'))
SOURCES = {
    f'{path.relative_to(ROOT)}: {command}': command
    for paths, reader in ((PAGES, commands_of_page),
                          (PROGRAMS, commands_of_program))
    for path in paths for command in reader(path)
}
#: Tools with the example of --cfg-options in their help, and for what.
EXAMPLES = {
    'tools/train.py': 'sohes_phase2.py sohes_phase3.py '
                      'tiny/sohes_phase2_tiny.py',
    'tools/test.py': 'sohes_phase2.py sohes_phase3.py',
    'tools/eval_zero_shot.py': 'sohes_phase2.py tiny/sohes_phase2_tiny.py',
    'tools/generate_pseudo_labels.py':
        'sohes_phase1.py sohes_phase1_cpu.py tiny/sohes_phase1_tiny.py',
}


def check_options(config: str, options: dict) -> None:
    """Fail if a key of --cfg-options is not known to its configuration."""
    path = ROOT / config
    if 'pseudo_labels' not in Config.fromfile(path):
        read_config(str(path), options)
        return
    merged = phase1_config(path, options)
    refiner = read_phase1(merged, None)[0].refiner
    if refiner['type'] != 'cascadepsp':  # wants weights
        build_refiner(refiner)


@pytest.mark.parametrize('source', SOURCES)
def test_command_parses(source):
    found = check_command(SOURCES[source])
    config = getattr(found, 'config', None)
    options = getattr(found, 'cfg_options', None)
    if isinstance(config, str) and isinstance(options, dict):
        check_options(config, options)


@pytest.mark.parametrize('tool', EXAMPLES)
def test_example_of_the_help_text_works(tool, capsys, monkeypatch):
    monkeypatch.setattr(sys, 'argv', [str(ROOT / tool), '--help'])
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / tool), run_name='__main__')
    text = ' '.join(capsys.readouterr().out.split())
    example = re.search(
        r'Override keys of the configuration, such as "(.*?)"', text)[1]
    pairs = re.findall(r'(\S+)=(\S+)', example)
    assert pairs
    from mmengine.config import DictAction
    parser = argparse.ArgumentParser()
    parser.add_argument('--options', nargs='+', action=DictAction)
    options = parser.parse_args(
        ['--options', *map('='.join, pairs)]).options
    for config in EXAMPLES[tool].split():
        check_options(f'configs/{config}', options)


def test_every_tool_with_such_a_help_text_is_tried():
    users = {path.relative_to(ROOT).as_posix()
             for path in (ROOT / 'tools').rglob('*.py')
             if 'run_parser(' in path.read_text()}
    assert users == set(EXAMPLES)


def test_the_reader_finds_commands(tmp_path: Path):
    page = tmp_path / 'page.md'
    page.write_text('```bash\nG="python tools/a.py --x"\n$G --y \\\n    1  '
                    '# why\nNODES=2 tools/dist_train.sh C 8 --resume\n```\n')
    assert list(commands_of_page(page)) == [
        'python tools/a.py --x --y 1',
        'NODES=2 tools/dist_train.sh C 8 --resume']
    assert script_and_arguments('NODES=2 tools/dist_train.sh C 8 --r') == (
        'tools/train.py', ['C', '--r'])
    assert script_and_arguments('tools/slurm_train.sh P J C DIR') == (
        'tools/train.py', ['C', '--work-dir', 'DIR'])
    assert script_and_arguments('mim list') is None
