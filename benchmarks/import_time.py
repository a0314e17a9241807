"""Seconds that importing takes, each in a process of its own.

    python benchmarks/import_time.py

The best of several; torch stands there to compare.
"""
import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODULES = ('sohes', 'torch', 'sohes.structures', 'sohes.pseudo_labels',
           'sohes.registry')
CODE = ('import time; start = time.perf_counter(); import {}; '
        'print(time.perf_counter() - start)')


def seconds(module: str, times: int) -> float:
    """The best of some imports of a module."""
    return min(
        float(subprocess.run([sys.executable, '-c', CODE.format(module)],
                             check=True, capture_output=True, text=True,
                             cwd=ROOT).stdout.splitlines()[-1])
        for _ in range(times))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--times', type=int, default=3)
    args = parser.parse_args()
    print('| import | seconds |\n|---|---|')
    for module in MODULES:
        print(f'| {module} | {seconds(module, args.times):.3f} |', flush=True)


if __name__ == '__main__':
    main()
