"""What a device computes fastest in: the type, and the order in memory."""
import functools
from pathlib import Path

import torch

# What Linux calls the instructions of x86 processors for it.
_FLAGS = {'amx_bf16', 'avx512_bf16'}


def fast_dtype(device: str | torch.device) -> str:
    """'bf16' where the device has instructions for it, else 'fp32'.

    Most processors have none: torch then computes bfloat16 in software, in
    twice to three times the time of float32. Where nothing says what the
    processor has (outside of Linux on x86), the answer is 'fp32'.

    Args:
        device: 'cpu', 'cuda', 'cuda:1', ...
    """
    kind = torch.device(device).type
    if kind == 'cuda':
        return 'bf16' if torch.cuda.is_bf16_supported() else 'fp32'
    return 'bf16' if kind == 'cpu' and _FLAGS & _cpu_flags() else 'fp32'


def conv_memory_format() -> torch.memory_format:
    """The order in memory that convolutions are trained fastest in here.

    Channels last on GPUs, and on processors with instructions for bfloat16.
    On others oneDNN's backward pass is slower in it than in torch's usual
    order; ``benchmarks/conv_order.py`` measures both.
    """
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    return (torch.channels_last if fast_dtype(device) == 'bf16' else
            torch.contiguous_format)


@functools.cache
def _cpu_flags(path: str = '/proc/cpuinfo') -> frozenset[str]:
    """What the first processor says of itself; nothing where none does."""
    try:
        lines = Path(path).read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError):
        return frozenset()
    for line in lines:
        name, _, value = line.partition(':')
        if name.strip() == 'flags':
            return frozenset(value.split())
    return frozenset()
