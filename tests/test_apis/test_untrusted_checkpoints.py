"""A checkpoint is data: whatever it carries, nothing of it is run."""
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from sohes.apis import EntityInferencer, UsageError
from sohes.apis.checkpoint_config import (
    check_types,
    checkpoint_config,
    config_json,
    inference_config,
)
from sohes.apis.checkpoints import load_only_data, read_checkpoint
from sohes.apis.publish import publish_model
from sohes.apis.training import train_model
from sohes.utils.errors import FileError
from sohes.utils.tensor_files import read_tensor_file
from sohes.weights.vit_files import read_tensors
from tests.toy_run import toy_config, weights


class Evil:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.command = f'touch {path}'

    def __reduce__(self) -> tuple:
        return os.system, (self.command, )


def evil_files(folder: Path, content: dict) -> list[Path]:
    """The same content and a command, in each format that torch reads."""
    content = dict(content, extra=Evil(folder / 'TOUCHED'))
    paths = [folder / name for name in ('zip.pth', 'old.pth', 'plain.pth',
                                        'tar.pth')]
    torch.save(content, paths[0])
    torch.save(content, paths[1], _use_new_zipfile_serialization=False)
    paths[2].write_bytes(pickle.dumps(content))
    import tarfile
    with tarfile.open(paths[3], 'w') as archive:
        for name in ('sys_info', 'pickle', 'storages', 'tensors'):
            (folder / name).write_bytes(pickle.dumps(content))
            archive.add(folder / name, name)
    return paths


def test_no_format_runs_anything(tmp_path):
    for path in evil_files(tmp_path, dict(state_dict=dict(a=torch.ones(2)))):
        with pytest.raises(UsageError) as caught:
            read_checkpoint(path)
        assert str(path) in str(caught.value)
        try:
            read_tensors(path)
        except ValueError:
            pass
    assert '--trust-checkpoint' in str(pytest.raises(
        UsageError, read_checkpoint, tmp_path / 'zip.pth').value)
    assert not (tmp_path / 'TOUCHED').exists()
    # Who wrote it may say so.
    read_checkpoint(tmp_path / 'zip.pth', trust=True)
    assert (tmp_path / 'TOUCHED').exists()


def test_torchscript_is_code(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / 'x.pth')
    with pytest.raises(UsageError, match='TorchScript'):
        read_checkpoint(tmp_path / 'x.pth')


def patched(path: Path, change) -> Path:
    """A torch file whose pickle is changed."""
    target = path.with_name('patched.pth')
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, 'w') as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith('data.pkl'):
                data = change(data)
            new.writestr(entry.filename, data)
    return target


def number(value: int) -> bytes:
    """As the pickle of torch.save has it."""
    return pickle.dumps(value, 2)[2:-1]


@pytest.mark.parametrize(('old', 'new'), [
    # As many elements as the storage has, and far more than it has.
    (number(333), number(1 << 20)),
    (number(333), number((1 << 62) + 333)),
])
def test_sizes_in_a_pickle_are_not_believed(tmp_path, old, new):
    torch.save(torch.zeros(333), tmp_path / 'x.pth')
    path = patched(tmp_path / 'x.pth', lambda data: data.replace(old, new))
    with pytest.raises(FileError, match='length|larger|shape'):
        read_tensor_file(path)


@pytest.mark.parametrize('program', [
    b'\x80\x02r\xff\xff\xff\x7f.',  # a memo of 17 GB
    b'\x80\x05\x96\xff\xff\xff\xff\x0f\x00\x00\x00.',  # 64 GB of zeros
    b'\x80\x02' + b']' * 100000 + b'a' * 99999 + b'.',
    # Lists that hold each other ten times over.
    b'\x80\x02]q\x00' + b''.join(
        b'](' + b'h' + bytes([k]) * 1 + (b'h' + bytes([k])) * 9 + b'eq'
        + bytes([k + 1]) for k in range(30)) + b'.',
    b'\x80\x02cbuiltins\neval\n(X\x05\x00\x00\x001/0+1tR.',
    b'\x80\x02cos\nsystem\n(X\x04\x00\x00\x00truetR.',
    b'\x80\x02cbuiltins\ngetattr\ncos\nenviron\nX\x03\x00\x00\x00get\x86R.',
    b'\x80\x04\x8c\x05posix\x8c\x06system\x93.',
    b'(ios\nsystem\n.', b'\x80\x02\x82\x01.', b'cnumpy\nload\n.',
    b'\x80\x02cnumpy\ndtype\n(X\x01\x00\x00\x00OtR.',
    b'ctorch\nload\n.', b'cmmengine.config\nConfig\n.', b'', b'.', b'(.',
])
def test_programs_of_a_pickle(tmp_path, program):
    path = tmp_path / 'x.pth'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('x/data.pkl', program)
    script = (f'import resource; resource.setrlimit(resource.RLIMIT_AS, '
              f'(8 << 30, 8 << 30))\n'
              f'from sohes.utils.tensor_files import *\n'
              f'try: print(read_tensor_file({str(path)!r}))\n'
              f'except FileError as error: print("refused", error)')
    if program[:3] in (b'\x80\x02r', b'\x80\x05\x96'):
        # Memory is what could go wrong: in a process of its own.
        done = subprocess.run([sys.executable, '-c', script], text=True,
                              capture_output=True, timeout=120, env=dict(
                                  os.environ, PYTHONPATH=os.getcwd()))
        assert 'refused' in done.stdout, done.stderr
        return
    with pytest.raises(FileError):
        read_tensor_file(path)


def test_compressed_files_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / 'x.pth', 'w',
                         zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('x/data.pkl', b'\x80\x02' + b'0' * 1000000 + b'.')
    with pytest.raises(FileError, match='compressed'):
        read_tensor_file(tmp_path / 'x.pth')


@pytest.mark.parametrize('zipped', [True, False])
def test_what_is_data_comes_back_as_it_was(tmp_path, zipped):
    from collections import Counter, OrderedDict
    base = torch.arange(24.)
    content = dict(
        state_dict=OrderedDict(
            a=base.view(4, 6).t(), b=base[3:5], c=torch.nn.Parameter(base),
            d=torch.zeros(0, 3), e=torch.ones((), dtype=torch.bfloat16),
            f=torch.tensor([1 + 2j]), g=torch.tensor([True])),
        arrays=[np.arange(6).reshape(2, 3).T, np.float64(3.5),
                np.array([], np.uint8), np.random.get_state()],
        other=(Counter([3, 3]), {1, 2}, b'', b'\xff\x00', torch.float16,
               torch.Size([3, 4]), torch.device('cpu'), None, 10**30))
    torch.save(content, tmp_path / 'x.pth',
               _use_new_zipfile_serialization=zipped)
    found = read_tensor_file(tmp_path / 'x.pth')
    for name, tensor in content['state_dict'].items():
        assert torch.equal(found['state_dict'][name], tensor), name
        assert found['state_dict'][name].dtype == tensor.dtype
        assert found['state_dict'][name].stride() == tensor.stride()
    # Views of one storage stay views of one storage.
    a, b = (found['state_dict'][key] for key in 'ab')
    a[0, 0] = 7.
    assert found['state_dict']['c'][0] == 7. and b[0] == 3.
    assert found['other'] == content['other']
    assert found['arrays'][0].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert (found['arrays'][3][1] == content['arrays'][3][1]).all()


EVIL_TEXTS = [
    "import os\nos.system('touch {0}')\nmodel = dict()",
    "model = dict(type='X', a=__import__('os').system('touch {0}'))",
    'model = [x for x in (1, 2)]', 'model = (lambda: 1)()',
    "model = f'{{open(\"{0}\", \"w\")}}'", "model = dict(**dict())['a']",
    "model = '' % 3", 'model = 9**9**9', '@dict\nclass model: pass',
    'model = {{fileDirname}}', "with open('{0}', 'w'): pass",
    'model = ' + '[' * 5000, 'model = ' + '-' * 100000 + '1',
    'model = ' + 'not ' * 50000 + '1', 'model = """\n' + 'x\n' * 90000 + '"""',
    "model = dict(dict(type='x'))", 'x' * 300000, '\x00', 'model = 1e999999',
]


@pytest.mark.parametrize('text', EVIL_TEXTS)
def test_a_configuration_inside_is_parsed_and_never_run(tmp_path, text):
    text = text.replace('{0}', str(tmp_path / 'TOUCHED'))
    with pytest.raises(UsageError, match='the configuration inside') as error:
        inference_config('x.pth', dict(meta=dict(cfg=text), state_dict={}))
    assert not (tmp_path / 'TOUCHED').exists()
    assert len(str(error.value)) < 700 and '\n' not in str(error.value)


def test_a_configuration_of_literals_is_read():
    config = Config(dict(
        model=dict(type='A', b=(1, -2.5, [None, True]), c={'x-y': "it's"}),
        d=1e-5, e=[dict(f=())], g=-1, h='ü\n'))
    found = checkpoint_config('x', dict(cfg=config.pretty_text))
    assert found.to_dict() == config.to_dict()
    found = checkpoint_config('x', dict(cfg=config_json(config)))
    assert found.to_dict() == config.to_dict()


def small(**changes) -> Config:
    """A configuration whose types are all registered, but for changes."""
    return Config(dict(
        default_scope='mmdet',
        model=dict(type='EntityMask2Former', act_cfg=dict(type='ReLU'),
                   **changes),
        test_dataloader=dict(dataset=dict(pipeline=[
            dict(type='sohes.LoadEntityImage'),
            dict(type='Resize', scale=(64, 64))]))))


@pytest.mark.parametrize('node', [
    dict(type='os.system', command='touch X'), dict(type='system'),
    dict(type='mmengine.Config'), dict(type='mmengine.load'),
    dict(type='sohes.apis.generate'), dict(type='mmdet.models.ResNet'),
    dict(type='torch.load'), dict(type='BertModel'), dict(type='Albu'),
    dict(type='evil.Thing'), dict(type=3), dict(type=['os.system']),
    dict(type='ReLU', _scope_='evil'), dict(custom_imports=['evil']),
    dict(_delete_=True), dict(_base_='x.py'), dict(weights=[1]),
    dict(weights='/etc/passwd'),
    dict(refiner=dict(type='package.module.Class')),
    dict(type='CameraMotionCompensation', warp_mode='print(1)'),
    dict(nms=dict(type='print(1)')), dict(type='LAD'),
    dict(type='KnowledgeDistillationSingleStageDetector'),
    dict(type='TIMMBackbone'), dict(type='mmpretrain.BLIP'),
    dict(type='ToyModel'), dict(channels=10**12), dict(type='builtins.eval'),
])
def test_types_reach_registered_names_only(node):
    from tests import toy_run  # noqa: F401  registers ToyModel
    with pytest.raises(ValueError, match='builds|has|takes'):
        check_types(small(neck=dict(inner=[node])))


def test_registered_names_pass_without_their_files():
    config = small(backbone=dict(
        type='sohes.ViTAdapter', vit=dict(arch='small'), weights='x.pth',
        init_cfg=dict(type='Pretrained', checkpoint='x.pth')))
    check_types(config)
    assert set(config.model.backbone) == {'type', 'vit'}


def test_the_commands_run_nothing(tmp_path):
    content = dict(state_dict=dict(a=torch.ones(2)), optimizer={})
    files = evil_files(tmp_path, content)[:1]
    torch.save(dict(content, meta=dict(
        cfg=f'import os\nos.system("touch {tmp_path}/TOUCHED")\nmodel={{}}')),
        tmp_path / 'cfg.pth')
    torch.save(dict(content, meta=dict(cfg=json.dumps(dict(
        model=dict(type='os.system', command=f'touch {tmp_path}/TOUCHED'),
        test_dataloader=dict(dataset=dict(pipeline=[])))))),
        tmp_path / 'type.pth')
    torch.save(dict(state_dict={}, meta=dict(
        config=f'import os\nos.system("touch {tmp_path}/TOUCHED")')),
        tmp_path / 'old.pth')
    for path in (*files, tmp_path / 'cfg.pth', tmp_path / 'type.pth'):
        for run in (lambda p: EntityInferencer(weights=p),
                    lambda p: publish_model(p, tmp_path / 'out'),
                    lambda p: train_model(
                        Config(toy_config(tmp_path / 'run')), str(p))):
            with pytest.raises(UsageError):
                run(path)
    for path in files:
        with pytest.raises(UsageError, match='--trust-checkpoint'):
            train_model(Config(dict(toy_config(tmp_path / 'run'),
                                    load_from=str(path))))
    # Of other models, through mmengine's own loader.
    from mmengine.runner.checkpoint import CheckpointLoader
    with pytest.raises(UsageError):
        CheckpointLoader.load_checkpoint(str(files[0]))
    assert 'config' not in CheckpointLoader.load_checkpoint(
        str(tmp_path / 'old.pth'))['meta']
    with pytest.raises(UsageError, match='from files and from https'):
        CheckpointLoader.load_checkpoint('open-mmlab://resnet50')
    load_only_data(trust=True)
    assert not (tmp_path / 'TOUCHED').exists()


def test_a_run_resumed_by_this_reader_is_the_same_run(tmp_path):
    train_model(Config(toy_config(tmp_path / 'whole')))
    train_model(Config(toy_config(tmp_path / 'half')),
                str(tmp_path / 'whole/iter_4.pth'))
    wanted = weights(tmp_path / 'whole/iter_8.pth')
    for name, tensor in weights(tmp_path / 'half/iter_8.pth').items():
        assert torch.equal(tensor, wanted[name]), name
