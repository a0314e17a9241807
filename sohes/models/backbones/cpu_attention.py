"""Attention in half precision on a CPU."""
from typing import Any

import torch
from torch import Tensor

# Queries whose row of similarities is in memory at a time.
_QUERIES = 1024


def bf16_attention(query: Tensor, key: Tensor, value: Tensor,
                   **unused: Any) -> Tensor:
    """Scaled dot-product attention by plain matrix products.

    torch's own kernel for CPUs computes bfloat16 no faster than float32;
    matrix products use the processor's instructions for it. Similarities are
    rounded to bfloat16 on the way, about as much as their inputs were.

    Args:
        query (Tensor): (B, heads, N, D), as are the other two.
        key (Tensor): likewise.
        value (Tensor): likewise.
        unused: dropout, which frozen layers do not have.

    Returns:
        Tensor: (B, heads, N, D).
    """
    query = query * query.shape[-1]**-0.5
    out = torch.empty_like(query)
    for sample in range(query.shape[0]):
        for head in range(query.shape[1]):
            keys = key[sample, head].t()
            values = value[sample, head]
            for start in range(0, query.shape[2], _QUERIES):
                some = slice(start, start + _QUERIES)
                similar = query[sample, head, some] @ keys
                out[sample, head, some] = similar.softmax(-1) @ values
    return out
