"""One error that a person can mend, under its old names too."""
import importlib

import pytest

from sohes.utils.errors import FileError, ImageError, SohesError, UsageError


@pytest.mark.parametrize('place', [
    'sohes.converters.entity_json.ConverterError',
    'sohes.evaluation.image_matching.InputError',
    'sohes.models.backbones.vit_keys.WeightsError',
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


def test_all_end_a_command_with_2_and_are_value_errors():
    for kind in (UsageError, FileError, ImageError):
        assert issubclass(kind, SohesError) and issubclass(kind, ValueError)
        assert kind.exit_code == 2
