"""Progress of a long run, for a terminal and for a log file."""
import sys
import time
from types import TracebackType


class Progress:
    """Count images, or whatever else; show how many a second and what is left.

    On a terminal it is one bar; elsewhere one line at most every half
    minute, so that a log stays short.

    Args:
        total (int): images in the run.
        quiet (bool): show nothing.
        every (float): seconds between two lines of a log.
        task (str): what is done to them.
        unit (str): what is counted, in the plural.
    """

    def __init__(self, total: int, quiet: bool = False,
                 every: float = 30.0, task: str = 'labelling',
                 unit: str = 'images') -> None:
        self.total = total
        self.task = task
        self.unit = unit
        self.quiet = quiet
        self.every = every
        self.done = self.skipped = self.failed = 0
        self._started = self._shown = time.monotonic()
        self._bar = None

    def __enter__(self) -> 'Progress':
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                TextColumn,
                TimeRemainingColumn,
            )
            from rich.progress import Progress as Bar
            self._bar = Bar(
                TextColumn(self.task), BarColumn(), MofNCompleteColumn(),
                TextColumn('{task.fields[note]}'), TimeRemainingColumn(),
                console=Console(stderr=True), speed_estimate_period=300)
            self._bar.start()
            self._task = self._bar.add_task('', total=self.total, note='')
        return self

    def __exit__(self, kind: type | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def skip(self, count: int) -> None:
        """Images that an earlier run has done."""
        self.skipped = self.done = count
        if count and not self.quiet:
            print(f'{count} of {self.total} {self.unit} were done before',
                  file=sys.stderr)
        if self._bar is not None:
            self._bar.update(self._task, completed=count)

    def step(self, failure: str | None = None) -> None:
        """One more image is done, or could not be read."""
        self.done += 1
        if failure is not None:
            self.failed += 1
            if not self.quiet:
                print(f'not read: {failure}', file=sys.stderr)
        if self._bar is not None:
            self._bar.update(self._task, advance=1, note=self._note())
        elif not self.quiet and (time.monotonic() - self._shown > self.every
                                 or self.done == self.total):
            self._shown = time.monotonic()
            print(f'{self.done} of {self.total} {self.unit}, {self._note()}',
                  file=sys.stderr, flush=True)

    def _note(self) -> str:
        """Speed, failures, and without a bar the time left."""
        seconds = time.monotonic() - self._started
        speed = (self.done - self.skipped) / max(seconds, 1e-9)
        text = (f'{speed:.2f} {self.unit}/s' if speed >= 1 else
                f'{1 / max(speed, 1e-9):.1f} s each')
        if self._bar is None:
            left = (self.total - self.done) / max(speed, 1e-9)
            text += f', {left / 60:.0f} min left'
        return text + (f', {self.failed} not read' if self.failed else '')
