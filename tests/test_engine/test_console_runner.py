"""What of mmengine's log stands on the screen."""
import logging

import pytest

from sohes.engine.console_runner import _is_for_the_console


@pytest.mark.parametrize('level, message, shown', [
    ('INFO', 'Iter(train) [8/8]  loss: 1.0', True),
    ('WARNING', 'the checkpoint has no optimizer', True),
    ('WARNING', 'two lines\nof a warning', True),
    ('INFO', 'two lines\nof a configuration', False),
    ('INFO', 'paramwise_options -- head.weight:lr=0.1', False),
    # 110 of them where a teacher is, or only one head learns.
    ('WARNING', 'teacher.stem.0.weight is skipped since its '
     'requires_grad=False', False),
    ('WARNING', '"FileClient" will be deprecated in future. Please use io',
     False),
])
def test_what_is_shown(level, message, shown):
    record = logging.LogRecord('x', getattr(logging, level), 'x.py', 1,
                               '%s', (message, ), None)
    assert _is_for_the_console(record) is shown
