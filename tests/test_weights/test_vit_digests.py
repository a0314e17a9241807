"""The ViT on which a model was trained, found by its digest."""
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from demo import demo_weights
from sohes.utils.errors import FileError
from sohes.weights import load_vit_weights, vit_digests
from sohes.weights.vit_digests import (
    STAND_IN,
    STAND_IN_FILE,
    digest_of,
    weights_of_digest,
)

from .vit_reference import random_vit


@pytest.fixture
def vit(tmp_path: Path) -> Path:
    """A file of weights."""
    torch.save(random_vit().state_dict(), tmp_path / 'vit.pth')
    return tmp_path / 'vit.pth'


@pytest.fixture
def stand_in(home: Path, vit: Path) -> Path:
    """The same weights where the demonstrations keep theirs."""
    home.mkdir(parents=True)
    save_file(load_vit_weights(vit).state_dict, home / STAND_IN_FILE)
    return home / STAND_IN_FILE


def test_the_file_that_is_wanted_comes_first(
        vit: Path, stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = digest_of(load_vit_weights(vit).state_dict)
    assert weights_of_digest(digest) == stand_in
    monkeypatch.setenv('SOHES_WEIGHTS', str(vit))
    assert weights_of_digest(digest) == vit


def test_only_a_program_fetches_the_stand_in(
        home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A demonstration that ran in this process before has offered it.
    monkeypatch.setattr(vit_digests, 'FETCHERS', {})
    with pytest.raises(FileError, match=r'not known here$'):
        weights_of_digest('0' * 64)
    with pytest.raises(FileError, match='here; python demo/demo_weights.py'):
        weights_of_digest(STAND_IN)
    monkeypatch.setattr(demo_weights, 'FETCHERS', vit_digests.FETCHERS)
    monkeypatch.setattr(demo_weights, 'stand_in_weights', lambda: home)
    demo_weights.offer_stand_in()
    assert weights_of_digest(STAND_IN) == home


def test_the_program_says_where_they_are(stand_in: Path,
                                         run_tool: Any) -> None:
    done = run_tool('demo/demo_weights.py')
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(stand_in)
    assert 'demonstration only' in done.stdout
