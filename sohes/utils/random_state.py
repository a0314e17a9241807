"""The global random generators: Python's, numpy's and torch's."""
import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def get_random_state() -> dict[str, Any]:
    """The state of every global generator of this process.

    That of CUDA is the current device's, where there is one.

    Returns:
        dict: what :func:`set_random_state` takes.
    """
    state = dict(
        python=random.getstate(),
        numpy=np.random.get_state(),
        torch=torch.get_rng_state())
    if torch.cuda.is_available():
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
def seeded_random(*key: Any, device: str | torch.device = 'cpu'
                  ) -> Iterator[None]:
    """Seed the generators by ``key`` for a while, then put them back.

    What draws from them inside gets the same numbers for the same key in
    whatever batch, process or order it comes.

    Args:
        *key: anything with a stable ``repr``: numbers, strings.
        device: where torch's numbers will be drawn; the CPU's generator is
            seeded in any case.

    Yields:
        None.
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    seed = int.from_bytes(digest, 'little') >> 1
    device = torch.device(device)
    # Not all devices: a loader's process must leave the GPU alone.
    cuda = [device] if device.type == 'cuda' else []
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=cuda):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)
        for one in cuda:
            with torch.cuda.device(one):
                torch.cuda.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
