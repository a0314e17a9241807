"""From photos to a published model by one command, killed on its way."""
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from sohes.utils.errors import UsageError
from sohes.utils.locks import sole_run
from sohes.utils.scalars import read_scalars
from tests.in_process import stages_in_process
from tests.test_tools.tiny_vit import save_tiny_vit
from tests.tiny_entities import make_entities, shrunk

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def work(tmp_path_factory) -> Path:
    """Four photos, and configurations of a tiny model that kill once."""
    # mmengine's options would take out the blank and split at the comma.
    root = tmp_path_factory.mktemp('pipeline') / "my out, it's [1]"
    root.mkdir()
    make_entities(root / 'data', images=4)
    save_tiny_vit(root / 'vit.pth')
    (root / 'phase1.py').write_text(
        'extractor = dict(weights="set by an option", num_heads=4,\n'
        '                 feature="key", block=-1, center=True,'
        ' device="cpu")\n'
        'pseudo_labels = dict(image_size=256, thresholds=(.6, .3, 0., -.3),\n'
        '    local=None)\nworkers = 1\n')
    for phase in (2, 3):
        config = Config.fromfile(
            ROOT / f'configs/tiny/sohes_phase{phase}_tiny.py')
        config = shrunk(config)
        config.train_cfg.max_iters = 4
        config.default_hooks.checkpoint.interval = 2
        config.default_hooks.logger.interval = 1
        config.custom_imports = dict(imports=['tests.test_tools.kill_once'])
        config.custom_hooks.append(
            dict(type='KillOnce', at=4, marker=str(root / f'killed{phase}')))
        config.dump(root / f'phase{phase}.py')
    return root


def words(work: Path, *options: str, photos: str = 'data/images'
          ) -> list[str]:
    configs = [word for phase in (1, 2, 3) for word in
               (f'--phase{phase}-config', str(work / f'phase{phase}.py'))]
    return ['tools/run_pipeline.py', str(work / photos), '--out-dir',
            str(work / 'out'), '--num-photos', '2', *configs,
            '--phase1-options', f'extractor.weights={work / "vit.pth"}',
            *options]


@pytest.fixture(scope='module')
def run(work, run_tool):
    """The command in this process, and so are its stages.

    Those that are to be killed are processes.
    """
    def is_killed(command: list[str]) -> bool:
        script, config = (Path(word) for word in command[1:3])
        return script.name == 'train.py' and not (
            work / f'killed{config.stem[-1]}').exists()

    def command(*options: str, **kwargs: str) -> subprocess.CompletedProcess:
        with stages_in_process(is_killed):
            return run_tool(*words(work, *options, **kwargs))
    return command


@pytest.fixture(scope='module')
def runs(run) -> list[subprocess.CompletedProcess]:
    """Killed in Phase 2, killed in Phase 3, to the end, and once more."""
    return [run() for _ in range(4)]


@pytest.fixture
def pipeline(tmp_path, monkeypatch):
    """A pipeline of the presets, by its options; nothing is run."""
    spec = importlib.util.spec_from_file_location(
        'run_pipeline', ROOT / 'tools/run_pipeline.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    photos = make_entities(tmp_path / 'data', images=1) / 'images'

    def build(*options: str, gpu: bool = False):
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpu)
        monkeypatch.setattr(sys, 'argv', [
            'run_pipeline.py', str(photos), '--out-dir',
            str(tmp_path / 'out'), *options])
        return tool.Pipeline(tool.parse_args())
    return build


@pytest.mark.parametrize('options, gpu, names', [
    ((), False, 'phase2_cpu phase3_cpu'),
    (('--gpus', '2'), False, 'phase2_cpu phase3_cpu'),
    ((), True, 'phase2_1x24gb phase3_1x24gb'),
    (('--gpus', '4'), True, 'phase2_1x24gb phase3_1x24gb'),
    (('--gpus', '8'), True, 'phase2_8gpu phase3_8gpu'),
    # The machine that asks slurm need not have a GPU itself.
    (('--gpus', '8', '--partition', 'p'), False, 'phase2_8gpu phase3_8gpu'),
    (('--preset', '8gpu'), False, 'phase2_8gpu phase3_8gpu'),
])
def test_the_preset_follows_the_gpus(pipeline, options, gpu, names):
    found = pipeline(*options, gpu=gpu).configs
    assert [path.stem for path in found[1:]] == [
        f'sohes_{name}' for name in names.split()]
    before, after = map(Config.fromfile, found[1:])
    assert after.model.detector == before.model


def test_the_presets_phase_1(pipeline):
    assert pipeline().configs[0].name == 'sohes_phase1_cpu.py'
    assert pipeline(gpu=True).configs[0].name == 'sohes_phase1.py'


def test_the_report_takes_the_vit_of_training(pipeline, tmp_path):
    found = pipeline()
    (found.out / 'phase3').mkdir(parents=True)
    config = 'model = dict(detector=dict(backbone=dict(weights="my vit")))'
    torch.save(dict(state_dict={}, meta=dict(cfg=config, iter=1)),
               found.out / 'phase3/iter_1.pth')
    (found.out / 'phase3/last_checkpoint').write_text(
        str(found.out / 'phase3/iter_1.pth'))
    model = tmp_path / 'sohes.pth'
    for meta, weights in ((dict(vit_digest='ab'), 'my vit'), ({}, None)):
        torch.save(dict(state_dict={}, meta=meta), model)
        assert found._vit_weights(model) == weights


@pytest.mark.parametrize('gpus, scaled', [('1', False), ('4', True)])
def test_the_rate_follows_several_gpus(pipeline, gpus, scaled, monkeypatch):
    commands = []
    monkeypatch.setattr(
        subprocess, 'run', lambda command, **_: commands.append(command)
        or subprocess.CompletedProcess(command, 3))
    found = pipeline('--gpus', gpus, gpu=True)
    with pytest.raises(Exception, match='phase2 was stopped'):
        found._train(2)
    assert ('--auto-scale-lr' in commands[0]) == scaled
    assert str(found.configs[1]) in commands[0]


def test_photos_that_are_set_aside_are_not_trained_on(pipeline, tmp_path,
                                                      monkeypatch):
    photo, = (tmp_path / 'data/images').glob('*.png')
    for k in range(39):
        shutil.copy(photo, photo.with_name(f'copy {k}.png'))
    commands = []
    monkeypatch.setattr(
        subprocess, 'run', lambda command, **_: commands.append(command)
        or subprocess.CompletedProcess(command, 3))
    found = pipeline()
    found.out.mkdir()
    before = found._decides(2)
    found._set_aside()
    names = json.loads((found.out / 'set_aside.json').read_text())
    assert len(names) == 4 and set(names) < set(found.names)
    assert found._decides(2) != before
    monkeypatch.setitem(type(found)._train.__globals__, '_last_checkpoint',
                        lambda *_: 'a.pth')
    for phase, keys in ((2, ['']), (3, ['labeled.', 'unlabeled.'])):
        with pytest.raises(Exception, match=f'phase{phase} was stopped'):
            found._train(phase)
        assert [word for word in commands[-1] if 'exclude' in word] == [
            f'train_dataloader.dataset.{key}exclude_file=set_aside.json'
            for key in keys]


@pytest.mark.parametrize('code, written, ends', [
    (1, True, None),  # some photos could not be read
    (1, False, 1), (70, True, 70), (70, False, 70), (2, True, 2),
    (-9, False, 1), (130, False, 130)])
def test_phase_1_that_crashed_is_not_done(pipeline, monkeypatch, code,
                                          written, ends):
    def start(command, **_):
        if written:
            Path(command[command.index('--out') + 1]).write_text('{}')
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(subprocess, 'run', start)
    found = pipeline()
    monkeypatch.setattr(found, '_train', lambda phase: sys.exit('phase 2'))
    with pytest.raises(BaseException) as caught:
        found.run()
    assert getattr(caught.value, 'exit_code', None) == ends
    assert (str(caught.value) == 'phase 2') == (ends is None)


@pytest.fixture
def stopped(pipeline, monkeypatch):
    """A pipeline that stops after Phase 1."""
    def build(*options):
        found = pipeline(*options)

        def phase1(labels):
            labels.write_text('{}')
            return labels, ''

        monkeypatch.setattr(found, '_phase1', phase1)
        monkeypatch.setattr(found, '_train', lambda phase: sys.exit('end'))
        return found
    return build


def test_photos_may_be_where_phase_2_looks_for_them(stopped, tmp_path):
    """DIR/images --out-dir DIR is the layout of the docs."""
    for _ in range(2):
        with pytest.raises(SystemExit, match='end'):
            stopped('--out-dir', str(tmp_path / 'data')).run()
    assert not (tmp_path / 'data' / 'images').is_symlink()
    assert not list((tmp_path / 'data').glob('.lock'))


def test_a_folder_of_other_photos_is_refused(stopped, tmp_path):
    (tmp_path / 'out' / 'images').mkdir(parents=True)
    with pytest.raises(UsageError, match='images is there already'):
        stopped().run()
    assert not (tmp_path / 'out' / 'stages').exists()


def test_photos_may_be_moved_but_not_changed(stopped, tmp_path):
    with pytest.raises(SystemExit, match='end'):
        stopped().run()
    photos, moved = tmp_path / 'data' / 'images', tmp_path / 'moved'
    photos.rename(moved)
    photos.symlink_to(moved)
    with pytest.raises(SystemExit, match='end'):
        stopped().run()
    name, = moved.glob('*.png')
    content = name.read_bytes()
    name.write_bytes(content + b'\0')
    with pytest.raises(UsageError, match='begun with other settings: photos:'):
        stopped().run()


def test_the_same_command_twice_at_once(stopped, tmp_path):
    found = stopped()
    found.out.mkdir()
    with sole_run(found.out, inside=True), pytest.raises(
            UsageError, match='being written by another run'):
        found.run()
    assert not (found.out / 'stages').exists()


@pytest.mark.slow
def test_it_goes_on_where_it_was_killed(runs, work):
    for killed, phase in zip(runs, (2, 3)):
        assert killed.returncode != 0
        assert (work / f'killed{phase}').exists()
        assert f'phase{phase} was stopped' in killed.stderr
        assert 'the same command continues' in killed.stderr
    assert runs[2].returncode == 0, runs[2].stderr
    # Three iterations were done, two of them saved; then those of Phase 3.
    steps = re.findall(r'Iter\(train\) \[(\d)/4\]', runs[1].stdout)
    assert steps == ['3', '4', '1', '2', '3']
    assert 'phase1 is done' in runs[1].stderr
    assert 'phase2 is done' in runs[2].stderr


@pytest.mark.slow
def test_what_is_done_is_not_done_again(runs):
    assert runs[3].returncode == 0, runs[3].stderr
    assert '==' not in runs[3].stderr
    for stage in ('phase1', 'phase2', 'phase3', 'publish', 'report'):
        assert f'{stage} is done' in runs[3].stderr


@pytest.mark.slow
def test_a_folder_that_was_moved_is_still_done(runs, run, work):
    moved = work / 'moved'
    shutil.copytree(work / 'out', moved, symlinks=True)
    done = run('--out-dir', str(moved))
    assert done.returncode == 0, done.stderr
    assert '==' not in done.stderr
    assert f'report is done: {moved / "report.html"}' in done.stderr


@pytest.mark.slow
def test_quiet(runs, run):
    done = run('--quiet')
    assert (done.returncode, done.stdout) == (0, ''), done.stderr
    assert 'is done' not in done.stderr


@pytest.mark.slow
def test_model_and_report(runs, work):
    model, = (work / 'out').glob('sohes-*.pth')
    assert not any(key.startswith(('teacher', 'student')) for key in
                   torch.load(model, weights_only=True)['state_dict'])
    page = (work / 'out/report.html').read_text()
    assert runs[2].stdout.splitlines()[-1] == (
        f'look at {work / "out/report.html"}')
    pictures = re.findall('src="([^"]+)"', page)
    # Of two trainings the loss, of two photos labels and predictions.
    assert len(pictures) == 6
    for picture in pictures:
        assert (work / 'out' / picture).stat().st_size > 1000
    assert model.name in page
    # Of four photos none was set aside.
    assert re.search(r'</h1>\n<p>The model .* Compared on photos that the '
                     r'model was trained on.</p>\n<table>', page)
    # Each training was killed once.
    assert page.count(', start 2 alone</td>') == 2
    for phase in (2, 3):
        lines = read_scalars(work / f'out/phase{phase}', 'loss')
        assert [line['step'] for line in lines] == [1, 2, 3, 4]
        assert min(line['loss'] for line in lines) > 0
    labels = json.loads((work / 'out/labels.json').read_text())
    assert len(labels['images']) == 4 and labels['annotations']


@pytest.mark.slow
def test_other_settings_are_refused_before_anything_is_lost(runs, run, work):
    before = (work / 'out/labels.json').read_bytes()
    done = run('--phase2-options', 'train_cfg.max_iters=9')
    assert done.returncode == 2
    assert 'phase2 was begun with other settings: phase2.options' in (
        done.stderr)
    assert (work / 'out/labels.json').read_bytes() == before
    done = run(photos='none')
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith('none does not exist')
