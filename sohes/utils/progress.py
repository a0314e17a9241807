"""Progress of a long run, for a terminal and for a log file."""
import sys
import time
from types import TracebackType


class Progress:
    """Count images; show images/s and the time left.

    On a terminal it is one bar; elsewhere one line at most every half
    minute, so that a log stays short.

    Args:
        total (int): images in the run.
        quiet (bool): show nothing.
        every (float): seconds between two lines of a log.
        what (str): is done with them, beside the bar.
    """

    def __init__(self, total: int, quiet: bool = False,
                 every: float = 30.0, what: str = 'labelling') -> None:
        self.total = total
        self.quiet = quiet
        self.every = every
        self.what = what
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
                TextColumn(self.what), BarColumn(), MofNCompleteColumn(),
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
            print(f'{count} of {self.total} images were done before',
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
            print(f'{self.done} of {self.total} images, {self._note()}',
                  file=sys.stderr, flush=True)

    def _note(self) -> str:
        """Speed, failures, and without a bar the time left."""
        seconds = time.monotonic() - self._started
        speed = (self.done - self.skipped) / max(seconds, 1e-9)
        text = (f'{speed:.2f} images/s' if speed >= 1 else
                f'{1 / max(speed, 1e-9):.1f} s an image')
        if self._bar is None:
            left = (self.total - self.done) / max(speed, 1e-9)
            text += f', {left / 60:.0f} min left'
        return text + (f', {self.failed} not read' if self.failed else '')
