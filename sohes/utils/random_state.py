"""The global random generators: Python's, numpy's and torch's."""
import random
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
