"""Broken and hostile files, made by a seed, put through all that reads files.

    python benchmarks/fuzz.py --minutes 60

Each case is made from a small whole file (labels, photos, checkpoints,
weights) by a seed and a number, and read in a child process. Prints how many
cases ended in which way: accepted, a sentence, a traceback, a crash, a hang
(over --hang seconds) or over --memory of memory; and the number of each case
that did not end well, which --only runs again alone. Exit code 1 if there is
any.
"""
import argparse
import os
import queue
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# In place of this folder, whose coverage.py is not the one numba looks for.
sys.path[0] = str(ROOT)

from benchmarks.fuzz_cases import KINDS, sentences


def child(args: argparse.Namespace) -> None:
    """Run cases from ``args.child`` on, a line before and after each."""
    import warnings
    warnings.simplefilter('ignore')
    # numba and torch map some gigabytes without touching them.
    resource.setrlimit(resource.RLIMIT_AS, (24 << 30, 24 << 30))
    readable = sentences()
    number = args.child
    with tempfile.TemporaryDirectory(prefix='sohes-fuzz-') as folder:
        while True:
            rng = random.Random(f'{args.seed}-{number}')
            kind = KINDS[number % len(KINDS)]
            print(f'begin {number} {kind.__name__}', flush=True)
            try:
                kind(Path(folder), rng)
                outcome = 'accepted'
            except readable as error:
                text = str(error)
                outcome = ('sentence' if '\n' not in text
                           and len(text) < 2000 else
                           f'traceback no sentence: {text[:150]!r}')
            except BaseException:
                last = traceback.format_exc().strip().splitlines()
                outcome = f'traceback {last[-1]:.200} {last[-3].strip()}'
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
            print(f'end {peak} {outcome}', flush=True)
            number += 1
            if args.only is not None:
                return


def run(args: argparse.Namespace) -> Counter:
    """Run cases in children until the time is over, and count."""
    counts: Counter = Counter()
    number = args.only or 0
    end = time.monotonic() + 60 * args.minutes
    while time.monotonic() < end and number < args.cases:
        number = _watch(args, number, end, counts)
        if args.only is not None:
            break
    return counts


def _watch(args: argparse.Namespace, number: int, end: float,
           counts: Counter) -> int:
    """One child, until it fails or the time is over; the next number."""
    command = [sys.executable, __file__, '--child', str(number), '--seed',
               str(args.seed)]
    if args.only is not None:
        command += ['--only', str(args.only)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                               stdin=subprocess.DEVNULL,
                               env=dict(os.environ, OMP_NUM_THREADS='1'))
    lines: queue.Queue = queue.Queue()

    def pump() -> None:
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=pump, daemon=True).start()
    first = number
    name = ''
    try:
        while args.only is not None or (time.monotonic() < end
                                        and number < args.cases):
            # The first case of each kind imports and compiles.
            warm = number - first >= 2 * len(KINDS)
            try:
                line = lines.get(timeout=args.hang if warm else 300)
            except queue.Empty:
                counts['hang'] += 1
                print(f'case {number} ({name}): hang')
                return number + 1
            if line is None:
                if args.only is None or process.wait():
                    counts['crash'] += 1
                    print(f'case {number} ({name}): crash, exit '
                          f'{process.wait()}')
                return number + 1
            word, *rest = line.split(maxsplit=2)
            if word == 'begin':
                name = rest[1].strip()
                continue
            outcome = rest[1].split()[0]
            counts[outcome] += 1
            if outcome == 'traceback':
                print(f'case {number} ({name}): {rest[1].strip()}')
            if int(rest[0]) > args.memory:
                counts['memory'] += 1
                print(f'case {number} ({name}): {rest[0]} MiB')
                return number + 1
            number += 1
    finally:
        process.kill()
        process.wait()
    return number


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--minutes', type=float, default=1)
    parser.add_argument('--cases', type=int, default=1 << 62, metavar='N',
                        help='stop after so many, however fast')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--hang', type=float, default=5, metavar='SECONDS')
    parser.add_argument('--memory', type=int, default=2048, metavar='MIB')
    parser.add_argument('--only', type=int, metavar='CASE')
    parser.add_argument('--child', type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        child(args)
        return 0
    counts = run(args)
    total = sum(counts.values())
    print(f'{total} cases: ' + ', '.join(
        f'{counts[key]} {key}' for key in (
            'sentence', 'accepted', 'crash', 'traceback', 'hang', 'memory')))
    return 1 if total > counts['sentence'] + counts['accepted'] else 0


if __name__ == '__main__':
    sys.exit(main())
