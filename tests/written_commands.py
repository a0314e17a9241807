"""The commands that pages, docstrings and help texts show."""
import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_BLOCK = re.compile(r'^```bash\n(.*?)^```', re.MULTILINE | re.DOTALL)
_ASSIGNED = re.compile(r'([A-Z]\w*)=(?:"([^"]*)"|(\S*))$')
#: What a program's first word may be; other lines are no commands.
_PROGRAMS = ('python', 'tools/', 'make', 'mim', 'pip', 'source')


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


def _commands(lines: Iterator[str]) -> Iterator[str]:
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
