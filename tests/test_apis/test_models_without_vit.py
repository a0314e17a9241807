"""Models whose frozen ViT is not in their file: published, found, used."""
import copy
import hashlib
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from PIL import Image
from safetensors.torch import load_file

from sohes.apis import EntityInferencer, UsageError
from sohes.apis import models_without_vit as found_here
from sohes.apis.checkpoint_config import inference_config
from sohes.apis.checkpoints import read_checkpoint
from sohes.apis.models_without_vit import place_vit
from sohes.apis.photo_entities import checkpoint_finder
from sohes.apis.publish import publish_model
from sohes.pseudo_labels.images import load_image
from sohes.weights.vit_digests import STAND_IN, digest_of
from sohes.weights.vit_weights import load_vit_weights
from tests.test_tools.tiny_vit import save_tiny_vit
from tests.tiny_entities import make_entities

ROOT = Path(__file__).resolve().parents[2]
NAME = 'sohes-vits14-demo'


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """Weights of a ViT as wide as a ViT-S, in vit.pth, and a photo."""
    folder = make_entities(tmp_path_factory.mktemp('without') / 'e', 1)
    save_tiny_vit(folder / 'vit.pth', width=384)
    return folder


@pytest.fixture(scope='module')
def trained(folder) -> Path:
    """The CPU recipe as training leaves it, but never trained.

    All that is learnt has its full size; its inputs are small.
    """
    config = Config.fromfile(ROOT / 'configs/phase2/sohes_phase2_cpu.py')
    config.merge_from_dict({
        'model.backbone.weights': str(folder / 'vit.pth'),
        'model.backbone.block': 1,
        'model.backbone.vit_size': 64,
        'model.backbone.test_vit_size': 64,
        'model.backbone.cells': 4,
        'model.test_cfg.zooms': [1],
        'model.test_cfg.view_size': 64,
        'model.test_cfg.refiner': None,  # it compiles for a minute
    })
    config.test_dataloader.dataset.pipeline[1].scale = (64, 64)
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.panoptic_head.cls_embed.bias.data[:] = torch.tensor([3., 0.])
    path = folder / 'iter_1.pth'
    torch.save(
        dict(state_dict=model.state_dict(),
             meta=dict(cfg=config.pretty_text)), path)
    return path


@pytest.fixture(scope='module')
def published(trained) -> Path:
    return publish_model(trained, trained.with_name('sohes'), half=True)


@pytest.fixture
def shipped(published, monkeypatch, tmp_path) -> Path:
    """A folder of shipped models with this one, and its ViT at hand."""
    (tmp_path / f'{NAME}.safetensors').write_bytes(published.read_bytes())
    monkeypatch.setattr(found_here, 'FOLDER', tmp_path)
    monkeypatch.setenv('SOHES_WEIGHTS', str(published.with_name('vit.pth')))
    return tmp_path


def entities(folder: Path, *args, **kwargs) -> dict:
    """What a model finds in the photo."""
    inferencer = EntityInferencer(*args, device='cpu', show_progress=False,
                                  **kwargs)
    found, = inferencer(str(folder / 'images/0.png'))['predictions']
    return found


def test_half_precision_is_small_and_finds_the_same(trained, published,
                                                    folder):
    size = published.stat().st_size
    assert 2**20 < size < 15 * 2**20
    state = load_file(published)
    assert {value.dtype for value in state.values()
            if value.is_floating_point()} == {torch.float16}
    assert not any('vit' in name for name in state)
    assert b'vit.pth' not in published.read_bytes()
    # The same file with its weights rounded, and nothing else done to it.
    content = torch.load(trained, weights_only=True)
    rounded = {name: value.half().float()
               for name, value in content['state_dict'].items()}
    torch.save(dict(content, state_dict=rounded), folder / 'rounded.pth')
    vit = dict(vit_weights=folder / 'vit.pth')
    found = entities(folder, None, published, **vit)
    assert len(found['masks']) > 10
    assert found == entities(folder, None, folder / 'rounded.pth', **vit)


def test_half_precision_changes_the_logits_by_rounding(trained, published,
                                                       folder):
    image = torch.rand(1, 3, 64, 64,
                       generator=torch.Generator().manual_seed(0))
    found = []
    for path in (trained, published):
        inferencer = EntityInferencer(None, path, device='cpu',
                                      vit_weights=folder / 'vit.pth')
        model = inferencer.model
        assert {value.dtype for value in model.parameters()} == {
            torch.float32}
        with torch.no_grad():
            head = model.panoptic_head
            found.append(head(model.backbone(image), [])[1][-1])
    # A cell at the border of a layer's mask may turn over, and with it what
    # a query attends to; few do.
    apart = (found[0] - found[1]).abs() / found[0].std()
    assert 0 < apart.mean() < 0.01
    assert apart.median() < 0.005


def test_a_name_finds_model_and_vit(shipped, folder):
    found = entities(folder, NAME)
    assert found == entities(folder, None, NAME)
    assert found == entities(
        folder, None, shipped / f'{NAME}.safetensors',
        vit_weights=str(folder / 'vit.pth'))
    # What the web demo calls.
    find = checkpoint_finder(None, NAME, 'cpu', min_score=0.0)
    assert len(find(load_image(folder / 'images/0.png')).rles) == len(
        found['masks'])


def test_the_demonstration_of_a_model(shipped, folder, tmp_path, run_tool):
    config = tmp_path / 'phase1.py'
    config.write_text(
        'extractor = dict(weights="of the model", feature="key", block=-1,\n'
        '                 center=True, device="cpu")\n'
        'pseudo_labels = dict(image_size=64, thresholds=(.6, .3, 0., -.3),\n'
        '    local=None, refiner=None)\n')
    words = ('demo/model_demo.py', '--img-dir', folder / 'images',
             '--out-dir', tmp_path / 'out', '--phase1-config', config,
             '--pred-score-thr', '0', '--device', 'cpu')
    done = run_tool(*words)
    assert done.returncode == 0, done.stderr
    found = re.findall(r'^0\.png: (.+): (\d+) masks, \d+\.\d s$', done.stdout,
                       re.MULTILINE)
    assert [title for title, _ in found] == ['labels of Phase 1', 'model']
    assert all(int(count) for _, count in found)
    assert int(found[1][1]) == len(entities(folder, NAME)['masks'])
    with Image.open(tmp_path / 'out/comparison.jpg') as picture:
        assert picture.size[0] > 3 * 340  # photo, labels, model
    (shipped / f'{NAME}.safetensors').unlink()
    done = run_tool(*words)
    assert done.returncode == 2
    assert done.stderr.count('\n') == 1
    assert 'clone the repository' in done.stderr


def test_where_it_is_not_a_sentence_says_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setattr(found_here, 'FOLDER', tmp_path)
    with pytest.raises(UsageError, match='clone the repository') as caught:
        EntityInferencer(NAME)
    assert str(tmp_path / f'{NAME}.safetensors') in str(caught.value)


def test_another_vit_is_refused(published, folder, tmp_path, monkeypatch):
    other = tmp_path / 'other.pth'
    weights = torch.load(folder / 'vit.pth')
    weights['blocks.0.attn.qkv.weight'] *= 1.1
    torch.save(weights, other)
    with pytest.raises(UsageError, match='on another ViT than .*other.pth'):
        EntityInferencer(None, published, 'cpu', vit_weights=other)
    with pytest.raises(UsageError, match='expected a file or one of'):
        EntityInferencer(None, published, 'cpu', vit_weights='none.pth')
    # $SOHES_WEIGHTS is no order, and this ViT no stand-in.
    monkeypatch.setenv('SOHES_WEIGHTS', str(other))
    with pytest.raises(UsageError, match='not known here; give its weights'):
        EntityInferencer(None, published, 'cpu')


def test_which_vit_survives_another_publishing(published, tmp_path):
    again = publish_model(published, tmp_path / 'again.safetensors')
    assert again.read_bytes() == published.read_bytes()
    weights = load_vit_weights(published.with_name('vit.pth')).state_dict
    assert read_checkpoint(again)['meta']['vit_digest'] == digest_of(weights)


def test_a_checkpoint_of_training_does_not_say_where_to_read(trained):
    """The path inside is another machine's, or a stranger's."""
    with pytest.raises(UsageError, match='not in it: give its weights'):
        EntityInferencer(None, trained, 'cpu')


@pytest.mark.parametrize('phase', [2, 3])
def test_all_that_the_recipe_builds_may_come_from_a_file(phase):
    config = Config.fromfile(
        ROOT / f'configs/phase{phase}/sohes_phase{phase}_cpu.py')
    meta = dict(cfg=config.pretty_text)
    model = inference_config('a.pth', dict(meta=meta,
                                           state_dict={})).model
    found = model.get('detector', model)
    assert found.test_cfg.refiner.type == 'localcrf'
    assert found.backbone.weights == 'dinov2_vits14'  # of the zoo
    meta = dict(cfg=meta['cfg'].replace('localcrf', 'os.system'))
    with pytest.raises(UsageError, match="builds 'os.system'"):
        inference_config('a.pth', dict(meta=meta, state_dict={}))


def test_a_model_with_its_vit_takes_no_other():
    model = dict(backbone=dict(type='sohes.ViTAdapter'))
    place_vit('a.pth', model, {})
    with pytest.raises(UsageError, match='a.pth has its ViT in it'):
        place_vit('a.pth', model, {}, 'dinov2_vits14')


def test_a_weight_beyond_half_precision(trained, tmp_path):
    content = copy.copy(torch.load(trained, weights_only=True))
    name, value = next(iter(content['state_dict'].items()))
    content['state_dict'][name] = value + 1e5
    torch.save(content, tmp_path / 'large.pth')
    with pytest.raises(UsageError, match=f'{name} has values'):
        publish_model(tmp_path / 'large.pth', tmp_path / 'x', half=True)


def test_publishing_needs_the_vit_that_it_names(trained, tmp_path):
    content = torch.load(trained, weights_only=True)
    text = content['meta']['cfg'].replace('vit.pth', 'gone.pth')
    torch.save(dict(content, meta=dict(cfg=text)), tmp_path / 'a.pth')
    with pytest.raises(UsageError, match='a.pth was trained on the ViT in '
                       '.*gone.pth'):
        publish_model(tmp_path / 'a.pth', tmp_path / 'x')


def test_the_digest_of_the_stand_in_is_of_its_weights(shared_data):
    file = shared_data / 'weights/dinov2_vits14_imgfocus_fp16.safetensors'
    assert digest_of(load_vit_weights(file).state_dict) == STAND_IN


@pytest.mark.slow
def test_the_model_in_the_checkout(shared_data, monkeypatch):
    path = found_here.FOLDER / f'{NAME}.safetensors'
    if not path.is_file():
        pytest.skip(f'{path} is not in this checkout')
    assert path.stat().st_size < 15 * 10**6
    checkpoint = read_checkpoint(path)
    assert checkpoint['meta']['vit_digest'] == STAND_IN
    card = (path.parent / 'README.md').read_text()
    assert hashlib.sha256(path.read_bytes()).hexdigest() in card
    assert 'TODO' not in card
    monkeypatch.setenv('SOHES_WEIGHTS', str(
        shared_data / 'weights/dinov2_vits14_imgfocus_fp16.safetensors'))
    config = inference_config(path, checkpoint)
    config.model.test_cfg.update(zooms=[1], refiner=None)  # quick
    photo = min((shared_data / 'bsds500/images/val').glob('*.jpg'))
    found, = EntityInferencer(config, NAME, 'cpu', show_progress=False)(
        str(photo))['predictions']
    assert len(found['masks']) > 20
    assert max(found['scores']) > 0.3
    assert any(parent >= 0 for parent in found['parents'])
