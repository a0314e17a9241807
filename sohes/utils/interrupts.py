"""Ctrl-C while a command is still importing."""
import os
import signal
from types import FrameType

#: Exit code of what was stopped by Ctrl-C, as in a shell.
INTERRUPTED = 130


def quiet_imports(name: str) -> None:
    """Let Ctrl-C end this process without a traceback until a command runs.

    Scripts of tools/ call this before anything slow is imported;
    :func:`run_in_earnest` takes it back. Where Ctrl-C is ignored, as behind
    nohup, it stays so.

    Args:
        name: ``__name__`` of the script, which may be imported by others.
    """
    if name == '__main__' and (signal.getsignal(signal.SIGINT)
                               is signal.default_int_handler):
        signal.signal(signal.SIGINT, _leave)


def run_in_earnest() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt, as usual."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)
