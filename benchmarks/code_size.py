"""How much code there is to read, and how far imports reach.

    python benchmarks/code_size.py [--root CHECKOUT] [--folders sohes tools]

Prints the files, the lines of code (no blank lines, comments or docstrings)
and the longest chain of modules that import each other at their top level.
Give another checkout to compare.
"""
import argparse
import ast
import functools
import io
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_SILENT = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT,
    tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER
}


def code_lines(source: str) -> int:
    """Lines with code on them."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _SILENT:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, 'body', None)
        if isinstance(body, list) and body and isinstance(
                body[0], ast.Expr) and isinstance(
                    body[0].value, ast.Constant) and isinstance(
                        body[0].value.value, str):
            lines.difference_update(
                range(body[0].lineno, body[0].end_lineno + 1))
    return len(lines)


def imports(tree: ast.Module, known: set[str]) -> set[str]:
    """Modules of ours that are imported when this one is."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f'{node.module}.{alias.name}'
                         for alias in node.names)
    return found & known


def longest_chain(modules: dict[str, set[str]]) -> list[str]:
    """The longest way through the imports, which have no circles."""
    @functools.cache
    def chain(name: str) -> tuple[str, ...]:
        ways = map(chain, sorted(modules[name] - {name}))
        return (name, *max(ways, key=len, default=()))

    return list(max(map(chain, sorted(modules)), key=len))


def main() -> None:
    """Prints the figures of a checkout."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--root', type=Path, default=ROOT,
                        help='The checkout. Default: this one.')
    parser.add_argument('--folders', nargs='+', default=['sohes', 'tools'],
                        help='Folders to count. Default: %(default)s.')
    args = parser.parse_args()
    files = sorted(path for folder in args.folders
                   for path in (args.root / folder).rglob('*.py'))
    sources = [path.read_text('utf-8') for path in files]
    names = {
        '.'.join(path.relative_to(args.root).with_suffix('').parts)
        .removesuffix('.__init__'): text
        for path, text in zip(files, sources)
    }
    chain = longest_chain({
        name: imports(ast.parse(text), set(names))
        for name, text in names.items()
    })
    print(f'{len(files)} files, {sum(map(len, map(str.splitlines, sources)))} '
          f'lines, {sum(map(code_lines, sources))} of them code')
    print(f'the longest chain of imports has {len(chain)} modules:')
    print(' -> '.join(chain))


if __name__ == '__main__':
    main()
