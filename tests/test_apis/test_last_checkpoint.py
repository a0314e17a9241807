"""A run goes on from the last checkpoint that is whole."""
import logging

import pytest
import torch

from sohes.apis.last_checkpoint import last_checkpoint
from sohes.utils.errors import UsageError


@pytest.fixture
def work_dir(tmp_path):
    """Checkpoints of iterations 2, 4 and 10."""
    for number in (2, 4, 10):
        torch.save(dict(state_dict=dict(a=torch.full((9, 9), number))),
                   tmp_path / f'iter_{number}.pth')
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/iter_10.pth')
    (tmp_path / 'best.pth').write_bytes(b'no checkpoint')
    return tmp_path


def cut(path):
    path.write_bytes(path.read_bytes()[:-99])


def zero(path):
    """As after a power cut: as long as it was, but empty within."""
    raw = bytearray(path.read_bytes())
    raw[200:400] = bytes(200)
    path.write_bytes(raw)


def test_it_is_the_one_that_is_named(work_dir):
    assert last_checkpoint(work_dir).name == 'iter_10.pth'
    (work_dir / 'last_checkpoint').write_text('iter_4.pth\n')
    assert last_checkpoint(work_dir).name == 'iter_4.pth'
    assert last_checkpoint(work_dir / 'nowhere') is None


@pytest.mark.parametrize('spoil', [cut, zero, lambda p: p.write_bytes(b'')])
def test_else_the_last_whole_one_and_it_says_why(work_dir, caplog, spoil):
    spoil(work_dir / 'iter_10.pth')
    with caplog.at_level(logging.WARNING):
        assert last_checkpoint(work_dir).name == 'iter_4.pth'
    assert 'iter_10.pth is cut off or damaged; going on from' in caplog.text


@pytest.mark.parametrize('text, reason', [
    ('', 'last_checkpoint is empty'), ('\0' * 20, 'last_checkpoint is empty'),
    ('/a/iter_12.pth', 'is not there')])
def test_a_name_that_leads_nowhere(work_dir, caplog, text, reason):
    (work_dir / 'last_checkpoint').write_text(text)
    assert last_checkpoint(work_dir).name == 'iter_10.pth'
    assert reason in caplog.text
    (work_dir / 'last_checkpoint').unlink()
    assert last_checkpoint(work_dir).name == 'iter_10.pth'


def test_no_whole_one_is_said_and_nothing_starts_anew(work_dir):
    for number in (2, 4, 10):
        cut(work_dir / f'iter_{number}.pth')
    with pytest.raises(UsageError, match=r'iter_10\.pth is cut off.*anew'):
        last_checkpoint(work_dir)
