"""Runs the commands of README and get_started, in the order of the pages.

    python3 .ci/run_commands.py

A copy of the checkout without an environment gets what the pages' own
commands put there, from `make demo` on. Placeholders become small inputs.
What needs GPUs, a network or data that is not here is parsed by the program
it names, and listed as not run. Exit code 1 if a command failed.
"""
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.written_commands import commands_of_page

PAGES = ('README.md', 'docs/get_started.md')
ACTIVATE = 'source .venv/bin/activate'
# A command that starts so is not run, and why.
NOT_RUN = {
    'make demo-model': 'a test runs its program',
    'make test': 'the other steps of .ci/run are this command',
}
# A training of a few steps stands for one of a night.
FEW_STEPS = (' --phase2-options train_cfg.max_iters=2 '
             'train_dataloader.batch_size=1 '
             '--phase3-options train_cfg.max_iters=2 '
             'train_dataloader.batch_size=1')
# What the commands of both pages write, without asking to overwrite.
RESULTS = ('labels.json', 'pictures', 'report')
SMALL_PHOTOS = """
import sys
from pathlib import Path
from PIL import Image
out = Path('PHOTOS')
out.mkdir()
for path in sorted(Path('outputs/demo/photos').iterdir())[:2]:
    Image.open(path).resize((128, 96)).save(out / path.name)
"""


class Run:
    """A copy of the checkout, and what became of each command in it.

    Args:
        clone: the copy.
    """

    def __init__(self, clone: Path) -> None:
        self.clone = clone
        self.failed: list[str] = []
        self.passed: list[str] = []
        self.not_run: dict[str, str] = {}
        # Those of a page so far, and the page on which they came first.
        self.begun: dict[tuple[str, ...], str] = {}

    def shell(self, shown: str, command: str, activated: bool) -> str:
        """Run a line as a person would type it; its output."""
        if activated:
            command = f'{ACTIVATE} && {command}'
        start = time.monotonic()
        done = subprocess.run(['bash', '-c', command], cwd=self.clone,
                              stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True,
                              check=False)
        seconds = f'{time.monotonic() - start:.0f} s'
        if done.returncode:
            self.failed.append(shown)
            print(f'FAILED ({seconds}, exit code {done.returncode}): '
                  f'{shown}\n{done.stdout[-4000:]}', flush=True)
        else:
            self.passed.append(shown)
            print(f'ran ({seconds}): {shown}', flush=True)
        return done.stdout

    def page(self, page: str, weights: str) -> None:
        """Run or list every command of a page.

        One that an earlier page has after the same commands ran there.
        """
        activated, so_far = False, ()
        for name in RESULTS:  # each page begins in a new clone
            subprocess.run(['rm', '-rf', name], cwd=self.clone, check=True)
        for shown in commands_of_page(self.clone / page):
            reason = next((why for start, why in NOT_RUN.items()
                           if shown.startswith(start)), None)
            if shown == ACTIVATE:
                activated, so_far = True, (*so_far, shown)
            elif shown == 'make demo':
                self.not_run[f'{page}: {shown}'] = 'was run first of all'
            elif reason is not None:
                self.not_run[f'{page}: {shown}'] = reason
            else:
                so_far = *so_far, shown
                first = self.begun.setdefault(so_far, page)
                if first == page:
                    self.shell(f'{page}: {shown}',
                               self.filled(shown, weights), activated)
                else:  # the same commands from the same beginning
                    self.not_run[f'{page}: {shown}'] = f'{first} began so'

    def filled(self, command: str, weights: str) -> str:
        """A command of a page with inputs that are here."""
        found = sorted(self.clone.glob('OUT/sohes-*.pth'))
        if found:
            command = command.replace('sohes-HASH.pth',
                                      f'OUT/{found[0].name}')
        command = re.sub(r'\bPHOTO\b', 'PHOTOS/astronaut.png', command)
        if 'generate_pseudo_labels.py' in command:
            command += f' --weights {weights}'  # as without a network
        if 'run_pipeline.py' in command:
            command += f' --weights {weights}{FEW_STEPS}'
        return command


def copied(target: Path) -> Path:
    """The files that git knows, or would, as a clone has them."""
    names = subprocess.run(
        ['git', 'ls-files', '-z', '--cached', '--others',
         '--exclude-standard'], cwd=ROOT, check=True,
        stdout=subprocess.PIPE, text=True).stdout.split('\0')
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def next_commands(printed: str) -> dict[str, str]:
    """The three that `make demo` prints last."""
    return dict(re.findall(
        r'^  (label it|see it|train a model)(?:, browser)? {2,}(\S.*)$',
        printed, re.MULTILINE))


def demo(run: Run) -> str | None:
    """`make demo`, and what it says to do next; the weights it took."""
    printed = run.shell('make demo', 'make demo', activated=False)
    following = next_commands(printed)
    if run.failed or len(following) != 3:
        run.failed.append('make demo: its three next commands')
        print(printed[-4000:])
        return None
    run.shell('after make demo: see it', following['see it'], False)
    run.not_run[f'after make demo: {following["label it"]}'] = (
        'README has it, with small photos')
    run.not_run[f'after make demo: {following["train a model"]}'] = (
        'README has it, with few steps')
    run.shell('small photos', f'python -c {shlex.quote(SMALL_PHOTOS)}', True)
    return shlex.split(following['label it'])[-1]


def parse_the_rest(run: Run) -> None:
    """Let the programs of what was not run read their arguments."""
    commands = [name.split(': ', 1)[1] for name in run.not_run]
    quoted = shlex.quote(json.dumps(commands))
    run.shell('arguments of those that were not run',
              f'python -m tests.written_commands {quoted}', True)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix='sohes-clone-') as folder:
        run = Run(copied(Path(folder)))
        weights = demo(run)
        if weights is not None:
            for page in PAGES:
                run.page(page, weights)
            parse_the_rest(run)
    for command, reason in run.not_run.items():
        print(f'not run: {command} ({reason})')
    print(f'{len(run.passed)} passed, {len(run.failed)} failed, '
          f'{len(run.not_run)} not run')
    return 1 if run.failed else 0


if __name__ == '__main__':
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    sys.exit(main())
