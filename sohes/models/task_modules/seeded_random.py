"""Random numbers that depend on what they are for, not on when."""
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def seeded_random(device: torch.device, *key: Any) -> Iterator[None]:
    """Seeds torch's generators by ``key`` for a while, then puts them back.

    What draws from ``torch.rand`` inside gets the same numbers for the same
    key in whatever batch, process or order it comes. A generator passed
    along would do the same, but mmdet's point sampling takes none.

    Args:
        device: Where the numbers will be drawn; the CPU's generator is
            seeded too.
        *key: Anything with a stable ``repr``: numbers, strings.

    Yields:
        None.
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    seed = int.from_bytes(digest, 'little') >> 1
    cuda = [device] if device.type == 'cuda' else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
