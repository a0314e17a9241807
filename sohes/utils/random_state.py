"""The global random generators: Python's, numpy's and torch's."""
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def get_random_state(cuda: bool = True) -> dict[str, Any]:
    """The state of every global generator of this process.

    Args:
        cuda (bool): with the current CUDA device's, where there is one.

    Returns:
        dict: what :func:`set_random_state` takes.
    """
    state = dict(
        python=random.getstate(),
        numpy=np.random.get_state(),
        torch=torch.get_rng_state())
    if cuda and torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Put every generator where :func:`get_random_state` found it.

    Args:
        state (dict): its answer, also after a trip through a checkpoint.
    """
    random.setstate(state['python'])
    np.random.set_state(state['numpy'])
    # A checkpoint's tensors come back on the device it was loaded to.
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


@contextmanager
def seeded(entropy: Sequence[int] | None) -> Iterator[None]:
    """Seed the CPU's generators for a block, and put them back after it.

    mmcv's and mmdet's transforms draw from the global generators. Inside
    this block they draw the same numbers for the same ``entropy``, and the
    model's random numbers do not depend on what they drew.

    Args:
        entropy (Sequence[int], optional): such as a
            :class:`sohes.datasets.samplers.Draw`'s; None: change nothing.
    """
    if entropy is None:
        yield
        return
    before = get_random_state(cuda=False)
    python, numpy, pytorch = np.random.SeedSequence(entropy).generate_state(3)
    random.seed(int(python))
    np.random.seed(numpy)
    # Not manual_seed: it would seed CUDA's generators too.
    torch.default_generator.manual_seed(int(pytorch))
    try:
        yield
    finally:
        set_random_state(before)
