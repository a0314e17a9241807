"""mmengine's runner, saying less."""
import logging
from typing import Any

from mmengine.logging import MMLogger
from mmengine.runner import Runner


class ConsoleRunner(Runner):
    """A runner whose start-up goes to the log file, not over the screen.

    mmengine logs the environment, the whole configuration, the hooks and the
    learning rate of every parameter: hundreds of lines before the first loss.
    They are of use in the file. The console gets what is one line long.
    """

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """The usual logger, with a filter on its console, and in UTF-8."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_is_for_the_console)
            elif handler.stream:
                # Not that of the locale, which may lack a photo's name.
                handler.encoding = 'utf-8'
                handler.errors = 'backslashreplace'
                handler.stream.reconfigure(encoding='utf-8',
                                           errors='backslashreplace')
        return logger


#: Warnings of mmengine about what it does as it was told, or about itself:
#: a line for each weight of a teacher, or of a model of which a part learns.
_NO_FAULT = ('is skipped since its requires_grad=False',
             'will be deprecated in future', 'is the alias of')


def _is_for_the_console(record: logging.LogRecord) -> bool:
    """Whether a record is short, or says that something is wrong."""
    message = record.getMessage()
    if any(words in message for words in _NO_FAULT):
        return False
    return record.levelno >= logging.WARNING or not (
        '\n' in message.strip() or message.startswith('paramwise_options'))
