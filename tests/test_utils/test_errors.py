"""One error that a person can mend; old names of things go on working."""
import importlib
from pathlib import Path

import pytest

import sohes.weights
from sohes.utils.errors import FileError, ImageError, SohesError, UsageError


@pytest.mark.parametrize('place', [
    'sohes.converters.entity_json.ConverterError',
    'sohes.evaluation.image_matching.InputError',
    'sohes.structures.segmentations.SegmentationError',
    'sohes.utils.json_guard.JsonBoundsError',
    'sohes.utils.json_stream.EntityIndexError',
    'sohes.utils.pickle_words.TensorFileError',
])
def test_old_names_warn_and_are_still_caught(place):
    module, name = place.rsplit('.', 1)
    with pytest.warns(DeprecationWarning, match=f'{name} is sohes.utils.err'):
        found = getattr(importlib.import_module(module), name)
    assert found is FileError
    with pytest.raises(AttributeError, match='no attribute'):
        getattr(importlib.import_module(module), f'{name}s')


@pytest.mark.parametrize('name', [
    'PRESETS', 'Preset', 'ViTWeights', 'ZOO', 'load_vit_weights',
    'weights_dir'])
def test_what_moved_is_found_at_its_old_place(name):
    from sohes.models import backbones
    with pytest.warns(DeprecationWarning,
                      match=rf'backbones\.{name} is sohes\.weights\.{name} '):
        found = getattr(backbones, name)
    assert found is getattr(sohes.weights, name)


def test_what_moved_to_the_demos_is_found_beside_them(repo_root,
                                                      monkeypatch):
    from sohes.models import backbones
    monkeypatch.syspath_prepend(repo_root / 'demo')
    with pytest.warns(DeprecationWarning, match='is demo_weights.resolve'):
        found = backbones.resolve_demo_weights
    assert Path(found.__code__.co_filename).parent == repo_root / 'demo'


def test_all_end_a_command_with_2_and_are_value_errors():
    for kind in (UsageError, FileError, ImageError):
        assert issubclass(kind, SohesError) and issubclass(kind, ValueError)
        assert kind.exit_code == 2
