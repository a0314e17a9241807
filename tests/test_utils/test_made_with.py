"""Whether an output is of this run is answered in one place."""
import os

import pytest

from sohes.utils.errors import UsageError
from sohes.utils.made_with import (
    check_settings,
    read_settings,
    write_settings,
)

ADVICE = 'choose another --out'


def test_the_same_settings_pass(tmp_path):
    settings = dict(weights=dict(name='a.pth'), thresholds=[0.5, 0.1])
    write_settings(tmp_path / 'run.json', settings)
    found = read_settings(tmp_path / 'run.json')
    assert found == settings
    check_settings('a.json was made with', found, settings, ADVICE)
    # An older file does not name what is None by default.
    check_settings('a.json was made with', found,
                   dict(settings, seed=None), ADVICE)


def test_the_sentence_names_what_differs():
    found = dict(weights=dict(name='a.pth', size=8), seed=0)
    wanted = dict(weights=dict(name='b.pth', size=8), seed=1)
    with pytest.raises(UsageError) as error:
        check_settings('a.json was made with', found, wanted, ADVICE)
    assert str(error.value) == (
        'a.json was made with other settings: seed: found 0, now 1; '
        "weights.name: found 'a.pth', now 'b.pth'; choose another --out")


def test_many_differences_are_counted():
    with pytest.raises(UsageError, match=r'e: found 0.*, and 2 more; choose'):
        check_settings('it was begun with', dict.fromkeys('abcdefg', 0), {},
                       ADVICE)


@pytest.mark.parametrize('content', [b'', b'\xff\xfe', b'{', b'[' * 9999,
                                     b'7', None])
def test_what_is_no_json_object_says_nothing(tmp_path, content):
    path = tmp_path / 'run.json'
    if content is None:
        os.mkfifo(path)
    else:
        path.write_bytes(content)
    assert read_settings(path) is None
