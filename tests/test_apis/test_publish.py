"""Checkpoints for others: published models and backbones."""
import hashlib
import re
import subprocess
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from sohes.apis import EntityInferencer, UsageError
from sohes.apis.publish import extract_backbone, one_model, publish_model
from tests.tiny_entities import make_entities, shrunk

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def config() -> Config:
    return shrunk(Config.fromfile(ROOT / 'configs/tiny/sohes_phase2_tiny.py'))


@pytest.fixture(scope='module')
def trained(config, tmp_path_factory) -> Path:
    """As a training run leaves it, of a model that was never trained."""
    config.work_dir = 'somebody/secret'
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    path = tmp_path_factory.mktemp('trained') / 'iter_1.pth'
    torch.save(
        dict(state_dict=model.state_dict(), optimizer=dict(state={}),
             message_hub={}, meta=dict(cfg=config.pretty_text, iter=1)),
        path)
    return path


def test_a_published_model_needs_nothing_beside_it(trained, config,
                                                   tmp_path):
    path = publish_model(trained, tmp_path / 'sub' / 'sohes.pth')
    digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    assert path == tmp_path / f'sub/sohes-{digits}.pth'
    assert publish_model(trained, tmp_path / 'again.pth').read_bytes() == (
        path.read_bytes())
    assert b'somebody' not in path.read_bytes()
    content = torch.load(path, weights_only=True)
    assert content.keys() == {'meta', 'state_dict'}
    photo = make_entities(tmp_path / 'data') / 'images/0.png'
    found, wanted = (
        EntityInferencer(*arguments, device='cpu', show_progress=False)(
            str(photo))
        for arguments in ((None, path), (config, trained)))
    assert found == wanted


def test_by_itself_a_file_without_room_for_code(trained, config, tmp_path):
    path = publish_model(trained, tmp_path / 'sohes')
    assert path.suffix == '.safetensors' and path.read_bytes()[8:9] == b'{'
    assert publish_model(trained, tmp_path / 'again').read_bytes() == (
        path.read_bytes())
    photo = make_entities(tmp_path / 'data') / 'images/0.png'
    found, wanted = (
        EntityInferencer(*arguments, device='cpu', show_progress=False)(
            str(photo))
        for arguments in ((None, path), (config, trained)))
    assert found == wanted
    # What it holds can be published again, as either kind.
    torch_file = publish_model(path, tmp_path / 'again.pth')
    assert torch.load(torch_file, weights_only=True)['meta']['cfg'][0] == '{'
    backbone, _ = extract_backbone(path, tmp_path / 'backbone')
    assert backbone.suffix == '.pth'


def test_of_phase_3_the_teacher_or_the_student():
    state = {'teacher.a': torch.zeros(1), 'student.a': torch.ones(1)}
    assert one_model(state) == {'a': torch.zeros(1)}
    assert one_model(state, 'student') == {'a': torch.ones(1)}
    wrapped = {f'module.{name}': value for name, value in state.items()}
    assert one_model(wrapped, 'student') == {'a': torch.ones(1)}
    assert one_model({'a': torch.ones(1)}) == {'a': torch.ones(1)}


@pytest.mark.parametrize('vit_only', [False, True])
def test_an_extracted_backbone_gives_the_same_maps(trained, config, tmp_path,
                                                   vit_only):
    path, cfg = extract_backbone(trained, tmp_path / 'x.pth', vit_only)
    found = MODELS.build(cfg)
    found.init_weights()
    whole = MODELS.build(config.model)
    whole.load_state_dict(torch.load(trained)['state_dict'])
    wanted = whole.backbone.vit if vit_only else whole.backbone
    if vit_only:
        wanted.out_type = 'featmap'
    found.eval()  # mmpretrain's returns nothing
    wanted.eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        maps = found(x)
        assert len(maps) == (1 if vit_only else 4)
        for a, b in zip(maps, wanted(x)):
            assert torch.equal(a, b)
    assert cfg['init_cfg']['checkpoint'] == str(path)


def test_the_commands(trained, run_tool, tmp_path):
    def run(name: str, *args: object) -> subprocess.CompletedProcess:
        return run_tool(f'tools/model_converters/{name}', *args)

    done = run('publish_model.py', trained, tmp_path / 'm.pth')
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob('m-*.pth'))) == 1
    done = run('extract_backbone.py', trained, tmp_path / 'b.pth', '--vit')
    assert done.returncode == 0, done.stderr
    text = re.search(r'^backbone ?=.*', done.stdout, re.M | re.S)[0]
    assert Config.fromstring(text, '.py').backbone.arch.embed_dims == 16
    wrong = run('publish_model.py', tmp_path / 'none.pth', tmp_path / 'x')
    assert wrong.returncode == 2
    assert 'none.pth: no such checkpoint' in wrong.stderr


def test_weights_alone_are_no_checkpoint_to_publish(trained, tmp_path):
    torch.save(torch.load(trained)['state_dict'], tmp_path / 'w.pth')
    with pytest.raises(UsageError, match='no configuration in it'):
        publish_model(tmp_path / 'w.pth', tmp_path / 'x.pth')
