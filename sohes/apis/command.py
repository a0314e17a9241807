"""How a command ends: a sentence and an exit code."""
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from mmengine.logging import MMLogger

from sohes.utils.dist import close_dist
from sohes.utils.errors import (
    machine_sentence,
    os_error_sentence,
    print_any_name,
)
from sohes.utils.interrupts import INTERRUPTED, run_in_earnest

#: A fault of the program. Neither Python's 1, which says here that a run
#: ended as it should with something left out, nor torchrun's.
CRASHED = 70


def run_command(run: Callable[[], int | None], interrupted: str) -> int:
    """Run a command and say in one sentence what stopped it.

    Args:
        run (Callable): the command; may return the exit code.
        interrupted (str): what to tell who pressed Ctrl-C.

    Returns:
        int: 0 done, 1 training diverged or what ``run`` means by it, 2 a
        mistake in the command, its configuration or its data, or something
        that the machine lacks, 130 interrupted, 70 a fault of the program,
        with its traceback.
    """
    run_in_earnest()
    print_any_name()
    # mmdet's; who runs a command can do nothing about it.
    warnings.filterwarnings('ignore', message='torch.meshgrid')
    try:
        code = run() or 0
        sys.stdout.flush()
        close_dist()
    except KeyboardInterrupt:
        _say(f'stopped; {interrupted}')
        return _leave(INTERRUPTED)
    except BrokenPipeError:
        # Who reads the output has gone, such as `head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _leave(2)
    except Exception as error:
        return _leave(_explain(error))
    return _leave(code, agreed=True)


def _explain(error: Exception) -> int:
    """Say what stopped a command; its exit code."""
    code = getattr(error, 'exit_code', None)
    # Every process finds the same mistake; one of a machine says so. That
    # training diverged, one of all says.
    names = (('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK') if code == 1
             else ('LOCAL_RANK', 'SLURM_LOCALID',
                   'OMPI_COMM_WORLD_LOCAL_RANK'))
    if code is not None and not _is_first(*names):
        return code
    if code is not None:
        text = sentence(error)
        where = '' if _is_plain(error) else log_traceback(error)
        _say(f'error: {text}{where}')
        return code
    text = machine_sentence(error)
    if text is None and isinstance(error, OSError):  # of a loader's worker
        text = sentence(error)
    if text is not None:
        _say(f'error: {text}{log_traceback(error)}')
        return 2
    _say(''.join(traceback.format_exception(error)).rstrip())
    _say('This is a fault of the program, not of what you typed; please '
         f'report it with the lines above (exit code {CRASHED})'
         f'{log_traceback(error)}')
    return CRASHED


def _is_plain(error: BaseException) -> bool:
    """Whether the sentence says all that the traceback could."""
    return not str(error.args[0] if error.args else '').startswith('Caught ')


def _say(text: str) -> None:
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:  # nobody reads it
        pass


def _leave(code: int, agreed: bool = False) -> int:
    """The exit code, noted where a script of tools/ asks for it.

    torchrun knows two codes, 0 and 1, and takes 1 for a crash.

    Args:
        code: of this process.
        agreed: all processes end as they should.
    """
    folder = os.environ.get('SOHES_EXIT_CODES')
    if not folder or not code:
        return code
    try:
        Path(folder, f'{code:03d}').touch()
    except OSError:
        return code
    return 0 if agreed else code


def _is_first(*names: str) -> bool:
    """Whether none of these variables counts this process above 0."""
    return all(os.environ.get(name, '0') == '0' for name in names)


def sentence(error: BaseException) -> str:
    """An exception as one sentence.

    Those of a loader's worker processes hold that process's traceback; the
    message is its last line.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return os_error_sentence(error)
    text = str(error.args[0] if error.args else error).strip()
    if text.startswith('Caught ') and '\nOriginal Traceback' in text:
        text = text.splitlines()[-1].split(': ', 1)[-1]
    if isinstance(error, KeyError):
        text = text.split('. Please check')[0]
    return text or type(error).__name__


def log_traceback(error: BaseException) -> str:
    """Put the traceback into the log file.

    Returns:
        str: where it is, for the end of the message; empty: nowhere.
    """
    text = ''.join(traceback.format_exception(error))
    for handler in MMLogger.get_current_instance().handlers:
        # A closed one has no stream.
        if isinstance(handler, logging.FileHandler) and handler.stream:
            try:
                handler.stream.write(text)
                handler.flush()
            except (OSError, ValueError):  # the disk may be what is full
                return ''
            return f' (traceback: {handler.baseFilename})'
    return ''
