"""What every file of configs/ has to have; new ones are found by themselves.

A *fragment* has neither a model nor pseudo-labels: other files inherit it.
It lies in a folder that says so (``_base_``, ``datasets``), must parse and
say what it is; the rest is asked of configurations that a person runs.
"""
import inspect
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope

from sohes.models.backbones import ViTFeatureExtractor
from sohes.models.backbones.vit_adapter_vit import named_vit
from sohes.pseudo_labels.methods import read_options

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'configs'
FRAGMENT_FOLDERS = {'_base_', 'datasets'}
FILES = sorted(path.relative_to(CONFIGS).as_posix()
               for path in CONFIGS.rglob('*.py'))
WHOLE = [name for name in FILES
         if not FRAGMENT_FOLDERS & set(Path(name).parts)]

# {algorithm}_{model}_{training}_{data}, '-' within a part; or what people
# type: the algorithm, its phase, and a word or two.
LONG_NAME = re.compile(r'[a-z\d][a-z\d.-]*(_[a-z\d][a-z\d.x-]*){2,}')
SHORT_NAME = re.compile(r'(sohes|hassod)_[a-z][a-z\d-]*(_[a-z\d]+){0,3}')


@cache
def read(name: str) -> Config:
    return Config.fromfile(CONFIGS / name)


def docstring(name: str) -> str:
    code = compile((CONFIGS / name).read_text(), name, 'exec')
    return next((text for text in code.co_consts[:1]
                 if isinstance(text, str)), '')


@cache
def metafiles() -> dict[str, dict]:
    """Every metafile that model-index.yml imports, by its path."""
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    return {name: yaml.safe_load((ROOT / name).read_text())
            for name in index['Import']}


def entries() -> list[dict]:
    return [model for file in metafiles().values()
            for model in file.get('Models') or []]


def test_there_is_something_to_look_at():
    assert {'sohes_phase1.py', 'sohes_phase2.py', 'sohes_phase3.py'} < set(
        WHOLE)
    stems = [Path(name).stem for name in WHOLE]
    # mim finds a configuration by its base name.
    assert len(stems) == len(set(stems))


@pytest.mark.parametrize('name', FILES)
def test_parses_and_is_a_fragment_only_where_those_lie(name):
    config = read(name)
    assert docstring(name).strip(), 'no docstring'
    if name in WHOLE:
        assert 'model' in config or 'pseudo_labels' in config


@pytest.mark.parametrize('name', WHOLE)
def test_is_named_by_the_rule(name):
    stem = Path(name).stem
    assert LONG_NAME.fullmatch(stem) or SHORT_NAME.fullmatch(stem)


@pytest.mark.parametrize('name', WHOLE)
def test_says_command_hardware_and_result(name):
    text = docstring(name)
    command = re.search(rf'^    .*tools/.*|^    mim .*{name}',
                        text, re.MULTILINE)
    assert command, 'no indented line with a command of tools/ or mim'
    assert f'configs/{name}' in text, 'the command does not name the file'
    assert re.search(r'\bHardware: \S', text), 'no "Hardware: ..."'
    assert re.search(r'\b[Rr]esults?(\s+to\s+expect)?:\s+\S', text), (
        'no "Result: ..."; "Result: not measured" is one')


@pytest.mark.parametrize('name', WHOLE)
def test_is_listed_in_a_metafile(name):
    found = [entry for entry in entries()
             if entry['Config'] == f'configs/{name}']
    assert len(found) == 1, 'not in a metafile that model-index.yml imports'
    assert found[0]['Name'] == Path(name).stem
    # What mim search prints is what the configuration says.
    config, metadata = read(name), found[0].get('Metadata') or {}
    iters = (config.get('train_cfg') or {}).get('max_iters')
    batch = (config.get('auto_scale_lr') or {}).get('base_batch_size')
    if batch is not None:
        batch *= config.optim_wrapper.get('accumulative_counts', 1)
    assert metadata.get('Iterations', iters) == iters
    assert metadata.get('Batch Size', batch) == batch


def test_metafiles_are_whole():
    names = [c['Name'] for file in metafiles().values()
             for c in file.get('Collections') or []]
    assert len(names) == len(set(names))
    for entry in entries():
        assert entry['In Collection'] in names, entry['Name']
        assert (ROOT / entry['Config']).is_file(), entry['Name']
    on_disk = {path.relative_to(ROOT).as_posix()
               for path in CONFIGS.rglob('metafile.yml')}
    assert on_disk == set(metafiles()), 'model-index.yml does not import it'


def small(node: Any) -> Any:
    """A model's settings with four blocks in its ViT, and no weights."""
    if isinstance(node, (list, tuple)):
        return [small(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: small(value) for key, value in node.items()}
    if node.get('type') == 'sohes.ViTAdapter':
        name = node.pop('weights')
        if name.startswith('dinov3'):
            vit = named_vit(name)
            node['vit'] = dict(vit, arch=dict(vit['arch'], num_layers=4))
            return node
        size, patch = re.search(r'vit([sbl])(\d+)', name).groups()
        width = dict(s=384, b=768, l=1024)[size]
        node['vit'] = dict(
            arch=dict(embed_dims=width, num_layers=4, num_heads=width // 64,
                      feedforward_channels=width),
            patch_size=int(patch), img_size=4 * int(patch))
    return node


# Trainable numbers of a model that was built; the ablations share theirs.
_BUILT: dict[str, int] = {}


@pytest.mark.parametrize('name', WHOLE)
def test_builds_at_a_small_size(name):
    config = read(name)
    if 'pseudo_labels' in config:
        read_options(config.to_dict()['pseudo_labels'])
        bound = inspect.signature(ViTFeatureExtractor).bind(
            **config.extractor)
        assert bound.arguments.keys() == config.extractor.keys()
    if 'model' not in config:
        assert 'pseudo_labels' in config
        return
    model = small(config.to_dict()['model'])
    if repr(model) not in _BUILT:
        # Without memory for the weights, and without drawing them.
        with torch.device('meta'), DefaultScope.overwrite_default_scope(
                config.default_scope):
            built = MODELS.build(ConfigDict(model))
        _BUILT[repr(model)] = sum(
            p.numel() for p in built.parameters() if p.requires_grad)
    assert _BUILT[repr(model)] > 0
