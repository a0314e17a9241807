"""The commands that pages, docstrings and help texts show.

    python -m tests.written_commands '["COMMAND", ...]'

lets the programs that they name read their arguments, and no more.
"""
import argparse
import ast
import json
import re
import runpy
import shlex
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
_BLOCK = re.compile(r'^```bash\n(.*?)^```', re.MULTILINE | re.DOTALL)
_ASSIGNED = re.compile(r'([A-Z]\w*)=(?:"([^"]*)"|(\S*))$')
#: What a program's first word may be; other lines are no commands.
_PROGRAMS = ('python', 'tools/', 'make', 'mim', 'pip', 'source')
#: What stands for a configuration, and a number that stands for itself.
_STANDS_FOR = dict(CONFIG='configs/sohes_phase2.py', N='8')


class _Parsed(Exception):
    """Raised in place of running a program; has its arguments."""


def commands_of_page(path: Path) -> Iterator[str]:
    """Every command in the bash blocks of a Markdown page, on one line."""
    for block in _BLOCK.findall(path.read_text(encoding='utf-8')):
        yield from _commands(block.splitlines(keepends=True))


def commands_of_program(path: Path) -> Iterator[str]:
    """Every indented command in the docstring of a Python file."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8')))
    lines = (text or '').splitlines(keepends=True)
    yield from _commands(line for line in lines
                         if line.startswith('    ') or not line.strip())


def _commands(lines: Iterable[str]) -> Iterator[str]:
    """Join continued lines, fill in shell variables, leave comments out."""
    variables: dict[str, str] = {}
    for line in ''.join(lines).replace('\\\n', ' ').splitlines():
        line = re.sub(r'\s+#\s.*|^#.*', '', line.strip())
        assigned = _ASSIGNED.match(line)
        if assigned:
            variables[assigned[1]] = assigned[2] or assigned[3] or ''
            continue
        for name, value in variables.items():
            line = re.sub(rf'\${name}\b', lambda _, value=value: value, line)
        # NAME=VALUE before a command is its environment
        bare = re.sub(r'^([A-Z_]+=\S+\s+)+', '', line)
        if bare.startswith(_PROGRAMS):
            yield ' '.join(line.split())


def script_and_arguments(command: str) -> tuple[str, list[str]] | None:
    """The Python file that a command starts, and with which arguments.

    What the scripts of tools/ for several processes add is taken off again.

    Returns:
        None for programs that are not ours, such as mim.
    """
    command = re.sub(r'^([A-Z_]+=\S+\s+)+', '', command)
    words = shlex.split(re.sub(r'[\[\]]|\.\.\.', '', command))
    if words[0] == 'python' and words[1].endswith('.py'):
        return words[1], words[2:]
    found = re.fullmatch(r'tools/(dist|slurm)_(\w+)\.sh', words[0])
    if found is None:
        return None
    script = dict(generate='generate_pseudo_labels').get(found[2], found[2])
    rest = words[1:]
    if found[1] == 'dist':
        at = 2 if found[2] == 'test' else 1
        del rest[at]  # the number of processes
    else:
        del rest[:2]  # partition and name
        if found[2] == 'train':
            rest.insert(1, '--work-dir')
    return f'tools/{script}.py', rest


def parsed(script: str, arguments: list[str]) -> argparse.Namespace:
    """Start a program of ours, and stop it when it has its arguments.

    Raises:
        SystemExit: it does not take them.
    """
    original = argparse.ArgumentParser.parse_args

    def parse_args(self, args=None, namespace=None):
        raise _Parsed(original(self, args, namespace))

    path = ROOT / script
    with mock.patch.object(sys, 'argv', [str(path), *arguments]), \
            mock.patch.object(sys, 'path', [str(path.parent), *sys.path]), \
            mock.patch.object(argparse.ArgumentParser, 'parse_args',
                              parse_args):
        try:
            runpy.run_path(str(path), run_name='__main__')
        except _Parsed as stopped:
            return stopped.args[0]
    raise AssertionError(f'{script} read no arguments')


def check_command(command: str) -> argparse.Namespace | None:
    """The arguments of a command as its program reads them.

    Returns:
        None where the program is not one of ours, or only prints its help.

    Raises:
        AssertionError: it names a file or a target that is not there.
        SystemExit: its program does not take these arguments.
    """
    if command.startswith('make '):
        target = re.match(r'make ([\w-]+)', command)[1]
        assert f'\n{target}:' in (ROOT / 'Makefile').read_text(), command
        return None
    started = script_and_arguments(command)
    if started is None:
        words = command.split()
        assert words[0] in ('mim', 'pip', 'source') or '-m' in words, command
        return None
    script, arguments = started
    assert (ROOT / script).is_file(), script
    if '-h' in arguments:
        return None
    arguments = [_STANDS_FOR.get(word, word) for word in arguments]
    for word in arguments:
        if word.startswith('configs/') and word.endswith('.py'):
            assert (ROOT / word).is_file(), word
    return parsed(script, arguments)


if __name__ == '__main__':
    for written in json.loads(sys.argv[1]):
        # What make demo prints starts with its Python, maybe after make ops.
        written = re.sub(r'^(make [^&]*&& )?\S*/bin/python ', 'python ',
                         written)
        check_command(written)
        print(f'parsed: {written}')
