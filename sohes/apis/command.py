"""How a command ends: a sentence and an exit code."""
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable

from mmengine.logging import MMLogger

from sohes.apis.generate import UsageError
from sohes.engine.hooks import NonFiniteLossError
from sohes.pseudo_labels.images import ImageError
from sohes.utils.dist import close_dist


def run_command(run: Callable[[], None], interrupted: str) -> int:
    """Run a command and say in one sentence what stopped it.

    Args:
        run (Callable): the command.
        interrupted (str): what to tell who pressed Ctrl-C.

    Returns:
        int: 0 done, 1 training diverged, 2 a mistake in the command, its
        configuration or its data, 130 interrupted.
    """
    # mmdet's; who runs a command can do nothing about it.
    warnings.filterwarnings('ignore', message='torch.meshgrid')
    try:
        run()
        close_dist()
    except UsageError as error:
        # Every process finds the same mistake; one of a machine says so.
        if _is_first('LOCAL_RANK', 'SLURM_LOCALID',
                     'OMPI_COMM_WORLD_LOCAL_RANK'):
            print(f'error: {error}', file=sys.stderr)
        return 2
    except NonFiniteLossError as error:
        if _is_first('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK'):
            print(f'error: {error}', file=sys.stderr)
        return 1
    except ImageError as error:
        print(f'error: {sentence(error)}{log_traceback(error)}',
              file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f'stopped; {interrupted}', file=sys.stderr)
        return 130
    return 0


def _is_first(*names: str) -> bool:
    """Whether none of these variables counts this process above 0."""
    return all(os.environ.get(name, '0') == '0' for name in names)


def sentence(error: BaseException) -> str:
    """An exception as one sentence.

    Those of a loader's worker processes hold that process's traceback; the
    message is its last line.
    """
    if isinstance(error, FileNotFoundError) and error.filename:
        return f'{error.filename}: no such file'
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
        if isinstance(handler, logging.FileHandler):
            handler.stream.write(text)
            handler.flush()
            return f' (traceback: {handler.baseFilename})'
    return ''
