"""Table 3 of the paper: what the teacher is worth, and its threshold.

    python tools/analysis_tools/ablate_self_correction.py \
        configs/sohes_phase3.py PHASE2.pth --out-dir OUT --seeds 0 1 2 \
        --cfg-options data_root=DIR/

evaluates PHASE2.pth as it is ('phase2', the paper's first row), and continues
it with each seed in three ways, for as many steps each and with the same I1 in
the same order: without the teacher's labels ('none', which the paper does not
have), with a fixed threshold ('fixed'), and with that of equation 3
('dynamic'). Each is evaluated as the configuration's test says. OUT/table3.md
holds mean and spread over the seeds, the differences of paired seeds, and how
many of the teacher's masks were believed, by size; OUT/table3.json every
number.

Stopped, or killed, it continues when the same command is given again.

Exit codes: 0 done, 1 a run was stopped, 2 the command or its data is wrong,
130 interrupted.
"""
import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

import numpy as np

from sohes.apis.command import run_command
from sohes.apis.last_checkpoint import last_checkpoint
from sohes.utils.arguments import tool_parser
from sohes.utils.errors import UsageError
from sohes.utils.files import sha256_of, whole_file
from sohes.utils.made_with import (
    check_settings,
    read_settings,
    write_settings,
)
from sohes.utils.scalars import read_scalars

# What stands in the configuration is the dynamic threshold.
ROWS = dict(
    phase2=(),  # not trained
    none=('model.semi_train_cfg.unsup_weight=0.0', ),
    fixed=('model.semi_train_cfg.score_thr=0.5', ),
    dynamic=())
METRICS = ('AR@1000', 'AR_S', 'AR_M', 'AR_L', 'AP@1000')
COUNTS = ('teacher_small', 'teacher_medium', 'teacher_large')


class RunFailed(Exception):
    """A run ended with an exit code; it has said why."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', metavar='CONFIG',
                        help='Configuration of Phase 3.')
    parser.add_argument('checkpoint', metavar='CKPT',
                        help='Checkpoint of Phase 2.')
    parser.add_argument('--out-dir', required=True,
                        help='Folder to write into.')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2],
                        metavar='SEED',
                        help='Seeds, one run each. Default: 0 1 2.')
    parser.add_argument('--rows', nargs='+', choices=ROWS,
                        default=list(ROWS),
                        help='Rows of the table. Default: all.')
    parser.add_argument('--cfg-options', nargs='+', default=[],
                        metavar='KEY=VALUE',
                        help='Override keys of the configuration in all '
                        'runs.')
    return parser.parse_args()


def train_and_test(args: argparse.Namespace, row: str,
                   seed: int) -> dict[str, Any]:
    """One cell of the table, from its file if it is there.

    Args:
        args: of the command.
        row: a key of :data:`ROWS`; 'phase2' is tested without training.
        seed: of the run.

    Returns:
        ``row``, ``seed``, ``metrics`` and ``counts`` of the teacher's masks.

    Raises:
        RunFailed: training or testing did not end well.
        UsageError: the cell was begun with other settings.
    """
    folder = Path(args.out_dir) / f'{row}_seed{seed}'
    result, begun = folder / 'result.json', folder / 'decides.json'
    decides = dict(config=args.config, checkpoint=args.checkpoint,
                   sha256=sha256_of(Path(args.checkpoint)),
                   options=[*args.cfg_options, *ROWS[row]])
    if begun.is_file():
        check_settings(f'{folder} was begun with', read_settings(begun) or {},
                       decides, 'choose another --out-dir')
        if result.is_file():
            return json.loads(result.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    write_settings(begun, decides)
    print(f'== {row}, seed {seed}', flush=True)
    options = ['--cfg-options', f'load_from={args.checkpoint}',
               f'randomness.seed={seed}', *decides['options']]
    weights = Path(args.checkpoint)
    if row != 'phase2':
        _tool('train.py', args.config, '--work-dir', str(folder), '--resume',
              *options)
        weights = last_checkpoint(folder)
    tests = folder / 'test'
    _tool('test.py', args.config, str(weights), '--work-dir', str(tests),
          *options)
    metrics = {
        name.removeprefix('entity/'): value
        for name, value in json.loads(
            max(tests.glob('*/*.json'), key=lambda p: p.stat().st_mtime)
            .read_text()).items()
    }
    found = dict(row=row, seed=seed, metrics=metrics,
                 counts=read_counts(folder))
    write_settings(result, found)
    return found


def _tool(name: str, *arguments: str) -> None:
    code = subprocess.run(
        [sys.executable, str(ROOT / 'tools' / name), *arguments]).returncode
    if code:
        raise RunFailed(f'tools/{name} was stopped (exit code {code}); the '
                        'same command continues', 2 if code == 2 else 1)


def read_counts(folder: Path) -> dict[str, float]:
    """The teacher's masks an image, mean over all lines of the logs."""
    lines = read_scalars(folder, COUNTS[0])
    return {
        name: float(np.mean([line[name] for line in lines]))
        for name in (COUNTS if lines else ())
    }


def table(cells: list[dict[str, Any]]) -> str:
    """Markdown of rows by mean and spread, then of paired differences.

    Args:
        cells: What :func:`train_and_test` returned.
    """
    rows = list(dict.fromkeys(cell['row'] for cell in cells))
    by = {(cell['row'], cell['seed']): cell for cell in cells}
    seeds = sorted({cell['seed'] for cell in cells})
    # The checkpoint of Phase 2 has no seed of its own: one cell for all.
    once = {cell['row']: cell for cell in cells if cell['row'] == 'phase2'}

    def values(row: str, kind: str, name: str) -> np.ndarray:
        found = [once.get(row) or by[row, seed] for seed in seeds]
        if row in once and kind == 'metrics':
            found = found[:1]
        return np.array([cell[kind].get(name, np.nan) for cell in found])

    head = ['row', *METRICS, 'teacher S', 'teacher M', 'teacher L']
    lines = [head, ['---'] * len(head)]
    for row in rows:
        lines.append(
            [row, *(_spread(values(row, 'metrics', m)) for m in METRICS),
             *(_count(values(row, 'counts', c).mean()) for c in COUNTS)])
    for row, base in (('fixed', 'phase2'), ('dynamic', 'phase2'),
                      ('fixed', 'none'), ('dynamic', 'none'),
                      ('dynamic', 'fixed')):
        if row in rows and base in rows:
            lines.append([f'{row} - {base}', *(
                _spread(values(row, 'metrics', m) -
                        values(base, 'metrics', m), '+')
                for m in METRICS), *[''] * len(COUNTS)])
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines) + (
        f'\n\nMean and standard deviation over {len(seeds)} seeds, percent; '
        'differences are of paired seeds. phase2: the checkpoint itself. '
        'Teacher: masks an image above its '
        'threshold.\n')


def _count(value: float) -> str:
    # Without the teacher's labels nothing is counted.
    return '-' if np.isnan(value) else f'{value:.2f}'


def _spread(values: np.ndarray, sign: str = '') -> str:
    spread = f' ± {values.std(ddof=1):.2f}' if len(values) > 1 else ''
    return f'{values.mean():{sign}.2f}{spread}'


def run(args: argparse.Namespace) -> None:
    """Train, test and write the table."""
    for path in (args.config, args.checkpoint):
        if not Path(path).is_file():
            raise UsageError(f'{path}: no such file')
    cells = [train_and_test(args, row, seed)
             for number, seed in enumerate(args.seeds) for row in args.rows
             if row != 'phase2' or number == 0]
    text = table(cells)
    for name, content in (('table3.json', json.dumps(cells, indent=1)),
                          ('table3.md', text)):
        with whole_file(Path(args.out_dir) / name) as file:
            file.write(content)
    print(text)


def main() -> int:
    args = parse_args()
    return run_command(lambda: run(args), 'the same command continues')


if __name__ == '__main__':
    sys.exit(main())
