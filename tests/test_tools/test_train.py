"""tools/train.py and test.py as a person types them, on a toy model."""
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from sohes.apis.command import run_command, sentence
from sohes.apis.run_config import read_config, use_amp, use_auto_scale_lr
from sohes.apis.training import test_model as evaluate_model
from sohes.apis.training import train_model
from sohes.utils.errors import UsageError
from tests import in_process, processes
from tests.toy_run import toy_config, weights, write_config

ROOT = Path(__file__).resolve().parents[2]


def run_script(name: str, *args: object, **variables: str):
    """Run a shell script of tools/."""
    env = dict(
        os.environ,
        PYTHONPATH=str(ROOT),
        PATH=f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
        OMP_NUM_THREADS='1',
        **variables)
    return subprocess.run(
        [str(ROOT / 'tools' / name), *map(str, args)], capture_output=True,
        text=True, env=env, stdin=subprocess.DEVNULL, timeout=300)


@pytest.fixture(scope='module')
def whole(tmp_path_factory) -> tuple[Path, str]:
    """The work dir of an undisturbed run, and what it printed."""
    folder = tmp_path_factory.mktemp('whole')
    config = write_config(folder / 'toy.py', toy_config(folder / 'unused'))
    done = in_process.run_tool('tools/train.py', config, '--work-dir',
                               folder / 'run')
    assert done.returncode == 0, done.stderr
    return folder / 'run', done.stdout


def test_the_console_is_short_and_says_where_the_log_is(whole):
    folder, console = whole
    logs = list(folder.glob('*/*.log'))
    assert f'The whole log: {logs[0]}' in console
    # Eight iterations, two validations of five batches, two checkpoints.
    assert len(console.splitlines()) < 50
    assert 'ResumableSampler' not in console
    assert 'ResumableSampler' in logs[0].read_text()
    assert 'Iter(train) [8/8]' in console


@pytest.mark.slow
def test_killed_in_the_middle_and_resumed_is_the_same_run(whole, tmp_path):
    config = write_config(tmp_path / 'toy.py', toy_config(tmp_path / 'run'))
    killed = processes.run_tool('tools/train.py', config, TOY_KILL_AT='6')
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / 'run/iter_4.pth').exists()
    assert not (tmp_path / 'run/iter_8.pth').exists()
    done = in_process.run_tool('tools/train.py', config, '--resume')
    assert done.returncode == 0, done.stderr
    assert 'Iter(train) [5/8]' in done.stdout
    assert 'Iter(train) [4/8]' not in done.stdout
    expected = weights(whole[0] / 'iter_8.pth')
    for name, tensor in weights(tmp_path / 'run/iter_8.pth').items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.slow
def test_two_processes_without_a_gpu_are_one_with_twice_the_batch(tmp_path):
    if torch.cuda.is_available():
        pytest.skip('with a GPU each process wants one')
    config = toy_config(tmp_path / 'one', dropout=0.)
    config['train_dataloader']['batch_size'] = 4
    train_model(Config(config))
    config = write_config(tmp_path / 'toy.py',
                          toy_config(tmp_path / 'two', dropout=0.))
    done = run_script('dist_train.sh', config, '2',
                      PORT=processes.free_port())
    assert done.returncode == 0, done.stderr
    one = weights(tmp_path / 'one/iter_8.pth')
    for name, tensor in weights(tmp_path / 'two/iter_8.pth').items():
        torch.testing.assert_close(tensor, one[name], rtol=1e-4, atol=1e-6)
    # And the checkpoint holds the random state of both.
    checkpoint = torch.load(tmp_path / 'two/iter_8.pth', weights_only=False)
    assert len(checkpoint['random_state']['ranks']) == 2
    metrics = processes.run_ranks(2, 'tools/test.py', config,
                                  tmp_path / 'two/iter_8.pth')
    for rank in metrics:
        assert rank.returncode == 0, rank.stderr
    assert 'mean: ' in metrics[0].stdout


def test_test_evaluates_a_checkpoint(whole, tmp_path):
    found = evaluate_model(
        Config(toy_config(tmp_path)), str(whole[0] / 'iter_8.pth'))
    assert 0 < found['mean'] < 2


def test_a_mistake_is_one_sentence_and_exit_code_2(tmp_path):
    done = in_process.run_tool('tools/train.py', tmp_path / 'no.py')
    assert done.returncode == 2
    assert done.stderr == (
        f'error: {tmp_path / "no.py"}: no such configuration file\n')
    config = write_config(tmp_path / 'toy.py', toy_config(tmp_path, widht=3))
    done = in_process.run_tool('tools/train.py', config)
    assert done.returncode == 2
    assert "unexpected keyword argument 'widht'" in done.stderr
    assert 'Traceback' not in done.stderr + done.stdout
    # It is in the file that the sentence names.
    log = done.stderr.split('(traceback: ')[1].rstrip(')\n')
    assert 'Traceback' in Path(log).read_text()


@pytest.mark.parametrize('text, options, message', [
    ('x = ', None, 'SyntaxError'),
    ('_base_ = "nothing.py"', None, 'nothing.py'),
    ('x = 1', None, 'has no model'),
    ('model = dict(type="M")\nmax_iters = 3', dict(max_iter=4),
     "no key 'max_iter'$"),
    ('model = dict(type="M")', {'model.type.x': 4},
     '--cfg-options: '),
])
def test_configurations_that_cannot_be_read(tmp_path, text, options,
                                            message):
    (tmp_path / 'c.py').write_text(text)
    with pytest.raises(UsageError, match=message):
        read_config(str(tmp_path / 'c.py'), options)


def test_work_dir_is_the_option_the_key_or_the_name(tmp_path):
    path = tmp_path / 'c.py'
    path.write_text('model = dict()')
    assert read_config(str(path)).work_dir == 'work_dirs/c'
    assert read_config(str(path), dict(work_dir='b')).work_dir == 'b'
    assert read_config(str(path), dict(work_dir='b'), 'a').work_dir == 'a'


def test_amp_and_scaled_learning_rate(tmp_path, monkeypatch):
    config = Config(toy_config(tmp_path))
    use_auto_scale_lr(config)
    assert config.auto_scale_lr.enable
    config.pop('auto_scale_lr')
    with pytest.raises(UsageError, match='no auto_scale_lr'):
        use_auto_scale_lr(config)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(UsageError, match='needs a GPU'):
        use_amp(config)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    use_amp(config)
    assert config.optim_wrapper.type == 'AmpOptimWrapper'
    assert config.optim_wrapper.dtype == 'bfloat16'


@pytest.mark.parametrize('resume, changes, message', [
    ('iter_8.pth', dict(), None),
    ('iter_9.pth', dict(), 'iter_9.pth: no such checkpoint'),
    ('broken.pth', dict(), 'broken.pth is no checkpoint, or it was cut off'),
    ('bare.pth', dict(), 'bare.pth cannot be resumed: it has weights only'),
    ('iter_8.pth', dict(width=9),
     'is of a run with other settings: model.width: found None, now 9; '
     'choose another --work-dir'),
])
def test_resume(whole, tmp_path, resume, changes, message):
    folder = whole[0]
    (folder / 'broken.pth').write_bytes(
        (folder / 'iter_8.pth').read_bytes()[:999])
    torch.save(weights(folder / 'iter_8.pth'), folder / 'bare.pth')
    config = Config(toy_config(tmp_path, **changes))
    if message is None:
        assert train_model(config, str(folder / resume)).iter == 8
        return
    with pytest.raises(UsageError, match=message):
        train_model(config, str(folder / resume))


def test_weights_of_another_model_are_named(whole, tmp_path):
    path = str(whole[0] / 'iter_8.pth')
    with pytest.raises(
            UsageError, match='layers.0.weight is 8x4, expected 9x4; '
            'layers.0.bias is 8, expected 9; .* and 2 more; take the conf'):
        evaluate_model(Config(toy_config(tmp_path, width=9)), path)
    other = tmp_path / 'other.pth'
    torch.save(dict(state_dict=dict(head=torch.ones(2))), other)
    with pytest.raises(UsageError, match='layers.0.weight is missing'):
        evaluate_model(Config(toy_config(tmp_path)), str(other))
    with pytest.raises(UsageError, match='none of its 1 weights is in'):
        train_model(
            Config(dict(toy_config(tmp_path), load_from=str(other))))


def test_what_is_broken_is_found_before_the_first_step(tmp_path):
    config = toy_config(tmp_path)
    config['train_dataloader']['dataset'] = dict(type='NoSuchData')
    with pytest.raises(UsageError, match='NoSuchData is not in the'):
        train_model(Config(config))
    config = toy_config(tmp_path)
    config['val_dataloader']['batchsize'] = 3
    with pytest.raises(UsageError, match="argument 'batchsize'"):
        train_model(Config(config))
    config = toy_config(tmp_path)
    config['optim_wrapper']['optimizer']['type'] = 'NoSuchOptimizer'
    with pytest.raises(UsageError, match='NoSuchOptimizer is not in the'):
        train_model(Config(config))
    with pytest.raises(UsageError, match='has no sohes.EntityMetric'):
        evaluate_model(Config(toy_config(tmp_path)), 'x.pth', 'out.json')


def test_sentence_of_a_worker_is_its_message():
    error = ValueError(
        'Caught ValueError in DataLoader worker process 0.\nOriginal '
        'Traceback (most recent call last):\n  File "a.py", line 3\n'
        'sohes.x.ImageError: b.jpg: not an image: truncated\n')
    assert sentence(error) == 'b.jpg: not an image: truncated'
    assert sentence(FileNotFoundError(2, 'No', 'c.jpg')) == (
        'c.jpg: no such file')
    assert sentence(KeyError('X is not there. Please check it')) == (
        'X is not there')


def test_interrupt_says_how_to_go_on(capsys):

    def run() -> None:
        raise KeyboardInterrupt

    assert run_command(run, 'do this') == 130
    assert capsys.readouterr().err == 'stopped; do this\n'


@pytest.mark.parametrize(('variable', 'says'), [
    ('LOCAL_RANK', 1), ('SLURM_LOCALID', 1), ('SLURM_PROCID', 0),
    ('OMPI_COMM_WORLD_LOCAL_RANK', 1)
])
def test_one_process_of_a_machine_says_what_is_wrong(
        monkeypatch, capsys, variable, says):
    def run() -> None:
        raise UsageError('no such thing')

    for value in ('0', '1'):
        monkeypatch.setenv(variable, value)
        assert run_command(run, '') == 2
    # Of the two processes of a machine one; on two machines both.
    assert capsys.readouterr().err.count('no such thing') == 2 - says


def test_slurm_starts_what_was_asked_for(tmp_path):
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    srun.chmod(0o755)

    def words(script: str, *args: str) -> list[str]:
        path = f'{tmp_path}:{os.environ["PATH"]}'
        done = subprocess.run(
            [ROOT / 'tools' / script, *args], capture_output=True, text=True,
            env=dict(os.environ, PATH=path, GPUS='64', SRUN_ARGS='-A me'))
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    train = words('slurm_train.sh', 'gpu', 'job', 'a b.py', 'dir', '--amp')
    assert train[:4] == ['-p', 'gpu', '--job-name=job', '--gres=gpu:8']
    assert '--ntasks=64' in train and train[-9:-7] == ['python', '-u']
    assert train[-6:] == ['a b.py', '--work-dir', 'dir', '--amp',
                          '--launcher', 'slurm']
    assert train[train.index('-A') + 1] == 'me'
    test = words('slurm_test.sh', 'gpu', 'job', 'a.py', 'x.pth')
    assert test[-4:] == ['a.py', 'x.pth', '--launcher', 'slurm']
    labels = words('slurm_generate.sh', 'gpu', 'job', 'a.py', '--out', 'x')
    assert labels[-5:] == ['a.py', '--out', 'x', '--launcher', 'slurm']
    wrong = subprocess.run([ROOT / 'tools/slurm_train.sh', 'gpu'],
                           capture_output=True, text=True)
    assert 'usage: slurm_train.sh PARTITION JOB_NAME' in wrong.stderr
