"""Set-up that is killed, repeated, or given a Python that does not run."""
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).resolve().parents[1] / 'tools'


@pytest.fixture(autouse=True)
def tools_on_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """tools/ is no package; its modules are found as a script finds them."""
    monkeypatch.syspath_prepend(str(TOOLS))
    for name in ('SOHES_WHEELS', 'PIP_FIND_LINKS', 'PYTHON'):
        monkeypatch.delenv(name, raising=False)
    yield


@pytest.fixture
def bootstrap() -> ModuleType:
    """The module of tools/bootstrap.py."""
    import bootstrap
    return bootstrap


@pytest.fixture
def environment(tmp_path: Path, bootstrap: ModuleType):
    """An environment whose Python is the one that runs the tests."""
    made = bootstrap.Environment(tmp_path / 'venv', 'onedl')
    fill(made)
    return made


def fill(environment) -> None:
    """Put this Python into an environment, as step_venv would."""
    environment.records.mkdir(parents=True, exist_ok=True)
    (environment.path / 'bin').mkdir()
    environment.python.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    environment.python.chmod(0o755)


def finish(bootstrap: ModuleType, environment, stage: str) -> None:
    """Record every step of a stage as done."""
    setup = bootstrap.Setup(environment, None)
    for step in bootstrap.STAGES[stage]:
        environment.record(step, setup.key(step))


def recorder(bootstrap: ModuleType, environment, fails: str = ''):
    """A Setup whose steps note their names in ``done`` and install nothing.

    Args:
        fails: the step that fails.
    """
    done: list = []

    def step(name: str):

        def action(self) -> None:
            if name == 'venv' and not self.env.python.exists():
                fill(self.env)
            if name == fails:
                raise bootstrap.SetupError('no line')
            done.append(name)

        return action

    names = {name for steps in bootstrap.STAGES.values() for name in steps}
    methods = {f'step_{name}': step(name) for name in names}
    fake = type('Fake', (bootstrap.Setup, ), methods)
    made = fake(environment, None)
    made.done = done
    return made


def test_steps_run_once_and_only_what_a_later_stage_adds(
        bootstrap: ModuleType, tmp_path: Path) -> None:
    environment = bootstrap.Environment(tmp_path / 'venv', 'onedl')
    setup = recorder(bootstrap, environment)
    setup.run('demo')
    assert setup.done == ['venv', 'packages', 'lite', 'sohes']
    setup.run('demo')
    setup.run('test')
    assert setup.done[4:] == ['ops', 'tests']


def test_failed_step_is_tried_again(bootstrap: ModuleType,
                                    tmp_path: Path) -> None:
    environment = bootstrap.Environment(tmp_path / 'venv', 'onedl')
    with pytest.raises(bootstrap.SetupError, match='no line'):
        recorder(bootstrap, environment, fails='lite').run('demo')
    setup = recorder(bootstrap, environment)
    setup.run('demo')
    assert setup.done == ['lite', 'sohes']


def test_other_versions_make_it_anew(bootstrap: ModuleType, environment,
                                     monkeypatch: pytest.MonkeyPatch,
                                     tmp_path: Path) -> None:
    finish(bootstrap, environment, 'demo')
    old = recorder(bootstrap, environment)
    assert old.missing('demo') == []
    copy = tmp_path / 'constraints.txt'
    copy.write_text(old.constraints.read_text() + '\nnew==1\n')
    old.constraints = copy
    leftover = environment.path / 'lib'
    leftover.mkdir()
    old.run('demo')
    assert old.done == ['venv', 'packages', 'lite', 'sohes']
    assert not leftover.exists()


def test_the_demos_environment_has_what_phases_1_and_2_ask_for(
        bootstrap: ModuleType, environment,
        monkeypatch: pytest.MonkeyPatch) -> None:
    words: list[str] = []
    monkeypatch.setattr(
        environment, 'install',
        lambda arguments, *_, **__: words.extend(arguments))
    setup = bootstrap.Setup(environment, None)
    monkeypatch.setattr(setup, '_may_take_cpu_torch', lambda: False)
    setup.step_packages()
    files = [Path(word).read_text() for word in words
             if word.endswith('.txt') and 'constraints' not in word]
    packages = {*words, *'\n'.join(files).split()}
    # CascadePSP, DenseCRF, Adan
    assert {'segmentation-refinement', 'pydensecrf2', 'timm'} <= packages


def test_moved_environment_is_not_trusted(bootstrap: ModuleType, environment,
                                          tmp_path: Path) -> None:
    finish(bootstrap, environment, 'demo')
    environment.path.rename(tmp_path / 'elsewhere')
    moved = bootstrap.Environment(tmp_path / 'elsewhere', 'onedl')
    assert 'venv' in bootstrap.Setup(moved, None).missing('demo')


def test_somebody_elses_environment_is_left_alone(bootstrap: ModuleType,
                                                  tmp_path: Path) -> None:
    theirs = tmp_path / 'venv' / 'pyvenv.cfg'
    theirs.parent.mkdir()
    theirs.write_text('home = /usr/bin\n')
    environment = bootstrap.Environment(theirs.parent, 'onedl')
    with pytest.raises(bootstrap.SetupError, match='left alone'):
        recorder(bootstrap, environment).run('demo')
    assert theirs.read_text() == 'home = /usr/bin\n'


KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from _bootstrap.venv import Environment
environment = Environment(Path(sys.argv[2]), 'onedl')
with environment.locked(), environment.changing():
    environment.run([sys.executable, '-c',
                     'import os, time; print(os.getpid(), flush=True); '
                     'time.sleep(120)'], 'installing')
"""


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        text = Path(f'/proc/{pid}/stat').read_text()
    except OSError:
        return False
    return text.rsplit(')', 1)[1].split()[0] not in 'ZX'


def wait_for(condition, seconds: float = 20.0):
    """Poll until something is true, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError('did not happen in time')


@pytest.mark.skipif(not sys.platform.startswith('linux'),
                    reason='reads /proc')
def test_killed_in_the_middle_of_an_install(bootstrap: ModuleType,
                                            environment) -> None:
    finish(bootstrap, environment, 'demo')
    process = subprocess.Popen(
        [sys.executable, '-c', KILLED,
         str(TOOLS), str(environment.path)])

    def installer() -> int:
        if not environment.log.exists():
            return 0
        words = environment.log.read_text().split()
        return int(words[-1]) if words and words[-1].isdigit() else 0

    child = wait_for(installer)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    # The orphan must not go on writing into the environment.
    wait_for(lambda: not alive(child))
    assert environment.is_broken()
    setup = recorder(bootstrap, environment)
    setup.run('demo')
    assert setup.done == ['venv', 'packages', 'lite', 'sohes']
    assert not environment.is_broken()


def test_a_second_run_reaches_the_program_at_once(bootstrap: ModuleType,
                                                  environment) -> None:
    finish(bootstrap, environment, 'demo')
    command = [
        sys.executable,
        str(TOOLS / 'bootstrap.py'), '--stage', 'demo', '--venv',
        str(environment.path), '--', '-c', 'import sys; print(sys.argv[1:])',
        '--flag', 'a b'
    ]
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "['--flag', 'a b']\n"
    assert time.monotonic() - start < 2


def test_failure_shows_the_end_of_the_log_and_what_to_do(
        environment, capsys: pytest.CaptureFixture) -> None:
    from _bootstrap.process import CommandError
    code = 'for i in range(40): print("line", i)\nraise SystemExit(3)'
    with pytest.raises(CommandError) as caught:
        environment.run([sys.executable, '-c', code], 'compiling',
                        'Install a compiler.')
    text = str(caught.value)
    assert 'exit code 3' in text and text.endswith('Install a compiler.')
    assert 'line 39' in text and 'line 20\n' not in text
    assert str(environment.log) in text


def test_long_commands_give_signs_of_life(
        tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from _bootstrap.process import run
    code = 'import time; print("[7/78] c++", flush=True); time.sleep(1.2)'
    run([sys.executable, '-c', code], tmp_path / 'log', 'compiling',
        heartbeat=0.5)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 2
    assert lines[-1].startswith('[setup]   still compiling, ')
    assert lines[-1].endswith(', 7 of 78 files')


def fake_python(path: Path, version: str, works: bool = True) -> str:
    """A program that says it is a Python, or a shim that cannot run."""
    line = f'echo "{version} {path}"' if works else 'exit 127'
    path.write_text(f'#!/bin/sh\n{line}\n')
    path.chmod(0o755)
    return str(path)


def test_shim_that_does_not_run_is_passed_over(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from _bootstrap.pythons import find_python
    fake_python(tmp_path / 'python3.96', '', works=False)
    good = tmp_path / 'pyenv' / 'versions' / '3.96.1' / 'bin' / 'python'
    good.parent.mkdir(parents=True)
    fake_python(good, '3.96')
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv('PYENV_ROOT', str(tmp_path / 'pyenv'))
    assert find_python(('3.96', ), None) == str(good)


def test_no_python_is_one_clear_sentence(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from _bootstrap.process import SetupError
    from _bootstrap.pythons import find_python
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setenv('PYENV_ROOT', str(tmp_path))
    with pytest.raises(SetupError, match=r'No Python 3\.97.*PYTHON=/path'):
        find_python(('3.97', ), None)
    other = fake_python(tmp_path / 'other', '3.98')
    with pytest.raises(SetupError, match=r'is Python 3\.98; this stack'):
        find_python(('3.97', ), other)


@pytest.mark.parametrize(('installed', 'imports', 'expected'), [
    (('opencv_python-5', ), True, False),
    # A server without libGL.
    (('opencv_python-5', ), False, True),
    (('opencv_python-5', 'opencv_python_headless-5'), True, True),
])
def test_headless_opencv_is_written_last(bootstrap: ModuleType, environment,
                                         monkeypatch: pytest.MonkeyPatch,
                                         installed: tuple, imports: bool,
                                         expected: bool) -> None:
    site = environment.path / 'lib' / 'python3.11' / 'site-packages'
    for name in installed:
        (site / f'{name}.dist-info').mkdir(parents=True)
    setup = bootstrap.Setup(environment, None)
    calls = []
    monkeypatch.setattr(environment, 'install',
                        lambda arguments, what: calls.append(arguments))
    monkeypatch.setattr(setup, '_imports', lambda module: imports)
    setup._settle_opencv()
    assert bool(calls) is expected
    if expected:
        assert calls[0][-1].startswith('opencv-python-headless==')


def test_cpu_torch_only_without_a_gpu_and_where_it_can_be_had(
        bootstrap: ModuleType, environment,
        monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('UV_TORCH_BACKEND', 'UV_INDEX', 'UV_DEFAULT_INDEX',
                 'UV_INDEX_URL', 'UV_OFFLINE', 'PIP_INDEX_URL'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, 'platform', 'linux')
    monkeypatch.setattr(bootstrap.os.path, 'exists', lambda path: False)
    monkeypatch.setattr(bootstrap.shutil, 'which', lambda name: None)
    setup = bootstrap.Setup(environment, None)
    log = []

    def install(arguments: list, what: str, advice: str = '',
                env: object = None) -> None:
        log.append(env)

    monkeypatch.setattr(environment, 'install', install)
    assert setup._may_take_cpu_torch()
    monkeypatch.setenv('PIP_INDEX_URL', 'mirror')
    assert not setup._may_take_cpu_torch()
    monkeypatch.delenv('PIP_INDEX_URL')
    monkeypatch.setattr(bootstrap.shutil, 'which', lambda name: name)
    assert not setup._may_take_cpu_torch()
    assert len(log) == 1
    monkeypatch.setattr(bootstrap.shutil, 'which', lambda name: None)

    def fails(*_: object, **__: object) -> None:
        raise bootstrap.CommandError('no such host')

    monkeypatch.setattr(environment, 'install', fails)
    assert not setup._may_take_cpu_torch()
