"""How a command ends: one sentence, and an exit code that says what it was."""
import errno
import os
import signal
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from sohes.apis.command import CRASHED, run_command
from sohes.engine.hooks import NonFiniteLossError
from sohes.utils.errors import FileError, ImageError, UsageError
from tests.test_tools.test_every_tool import SCRIPTS

ROOT = Path(__file__).resolve().parents[2]


def failing(error: BaseException):
    def run():
        raise error
    return run


@pytest.mark.parametrize('error, code, text', [
    (UsageError('wrong'), 2, 'error: wrong'),
    (ImageError('a.png: broken'), 2, 'error: a.png: broken'),
    (FileError('no json'), 2, 'error: no json'),
    (NonFiniteLossError('nan'), 1, 'error: nan'),
    (KeyboardInterrupt(), 130, 'stopped; go on'),
    (OSError(errno.ENOSPC, 'x', 'a.json'), 2, 'a.json: the disk is full'),
    (OSError(errno.ENOTDIR, 'x', 'f/run'), 2, 'f/run: a part of this path'),
    (PermissionError(errno.EACCES, 'x', 'd'), 2, 'd: there is no permission'),
    (OSError(errno.EROFS, 'x', 'd'), 2, 'd: the file system can only be'),
    (OSError(errno.ENAMETOOLONG, 'x', 'd'), 2, 'd: the name is too long'),
    (MemoryError(), 2, 'the memory of this machine is not enough'),
    (BrokenProcessPool('x'), 2, 'a worker process was killed'),
    (RuntimeError('DataLoader worker (pid 7) is killed by signal: Killed.'),
     2, 'a worker process was killed'),
    (RuntimeError('[enforce fail at inline_container.cc:603] . '
                  'PytorchStreamWriter failed writing file'), 2,
     'a file could not be written'),
])
def test_what_is_no_fault_of_the_program_is_one_sentence(
        error, code, text, capsys):
    assert run_command(failing(error), 'go on') == code
    printed = capsys.readouterr().err
    assert text in printed
    assert 'Traceback' not in printed and len(printed.splitlines()) == 1


def test_a_fault_of_the_program_has_a_code_of_its_own(capsys):
    assert run_command(failing(RuntimeError('boom')), '') == CRASHED
    assert CRASHED not in (0, 1, 2, 130)
    printed = capsys.readouterr().err
    assert 'boom' in printed and 'fault of the program' in printed


def test_a_run_may_say_its_own_code(tmp_path, monkeypatch):
    assert run_command(lambda: None, '') == 0
    assert run_command(lambda: 1, '') == 1
    # Under torchrun, which takes 1 for a crash, the script asks for it.
    monkeypatch.setenv('SOHES_EXIT_CODES', str(tmp_path))
    assert run_command(lambda: 1, '') == 0
    assert [p.name for p in tmp_path.iterdir()] == ['001']
    assert run_command(failing(UsageError('x')), '') == 2
    assert (tmp_path / '002').exists()


# A process each, half a minute for all of them.
@pytest.mark.parametrize('tool', [
    SCRIPTS[0],
    *(pytest.param(tool, marks=pytest.mark.slow) for tool in SCRIPTS[1:])])
def test_ctrl_c_while_it_imports(tool, tmp_path):
    """Nobody waits for a traceback of half an import."""
    words = {'demo/pseudo_labels_demo.py': [], 'demo/model_demo.py': [],
             'tools/analysis_tools/browse_pseudo_labels.py': ['a']}
    # Stands for anything slow: every tool imports it.
    (tmp_path / 'mmengine').mkdir()
    (tmp_path / 'mmengine' / '__init__.py').write_text(
        'import time\nprint("importing", flush=True)\ntime.sleep(60)\n')
    process = subprocess.Popen(
        [sys.executable, str(ROOT / tool), *words.get(tool, ['a', 'b'])],
        text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=dict(os.environ, PYTHONPATH=str(tmp_path)),
        # A suite that a shell started in the background ignores Ctrl-C, and
        # so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    assert process.stdout.readline() == 'importing\n'
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1] == ''
    assert process.returncode == 130


PRINTS = """
import sys
from sohes.apis.command import run_command
sys.exit(run_command(lambda: print('gr\\u00fcn \\u732b\\n' * 99999), ''))
"""


@pytest.mark.parametrize('shell, code', [
    ('"$PY" -c "$CODE" | head -1', 2),
    ('PYTHONIOENCODING=ascii "$PY" -c "$CODE" > /dev/null', 0),
])
def test_any_name_can_be_printed_and_nobody_need_read_it(shell, code):
    done = subprocess.run(
        ['bash', '-c', f'{shell}; exit ${{PIPESTATUS[0]}}'],
        capture_output=True, text=True,
        env=dict(os.environ, PY=sys.executable, CODE=PRINTS,
                 PYTHONPATH=os.pathsep.join(
                     [str(ROOT), os.environ.get('PYTHONPATH', '')])))
    assert done.returncode == code, done.stderr
    assert 'Traceback' not in done.stderr and 'Error' not in done.stderr


LOGS = """
import sys
from sohes.engine.console_runner import ConsoleRunner
from sohes.utils.errors import print_any_name
print_any_name()
runner = object.__new__(ConsoleRunner)
runner._experiment_name = runner._timestamp = 'x'
runner._log_dir = sys.argv[1]
runner.build_logger().warning('gr\\u00fcn \\u732b \\udcff')
"""


@pytest.mark.slow
def test_log_files_are_utf_8_whatever_the_locale(tmp_path):
    done = subprocess.run(
        [sys.executable, '-c', LOGS, str(tmp_path)], capture_output=True,
        env=dict(os.environ, LC_ALL='C', PYTHONUTF8='0',
                 PYTHONCOERCECLOCALE='0', PYTHONPATH=os.pathsep.join(
                     [str(ROOT), os.environ.get('PYTHONPATH', '')])))
    assert done.returncode == 0 and b'Error' not in done.stderr, done.stderr
    log = (tmp_path / 'x.log').read_text('utf-8')
    assert 'gr\u00fcn \u732b \\udcff' in log
