"""Attention that draws no more of its mask and weights than it needs."""
import torch.nn.functional as F
from torch import Tensor, nn


class MaskedAttention(nn.MultiheadAttention):
    """torch's, with one mask for all heads and without weights to return.

    torch's own copies the mask for each head as float32 numbers, and mmcv's
    wrapper has it average the weights of the heads and throws them away:
    with 245 queries, eight heads and a thousand keys that is a third of a
    training step on a CPU. Names and values of the parameters are torch's.
    """

    @classmethod
    def of(cls, attention: nn.MultiheadAttention) -> 'MaskedAttention':
        """Takes over the parameters of another one.

        Raises:
            ValueError: It has separate projections, an additional key, or
                wants the batch first.
        """
        plain = (attention.in_proj_weight is not None
                 and attention.bias_k is None and not attention.add_zero_attn
                 and not attention.batch_first)
        if not plain:
            raise ValueError(f'attention: expected torch.nn.MultiheadAttention'
                             f' as mmcv builds it, got {attention}')
        made = cls(
            attention.embed_dim, attention.num_heads, attention.dropout,
            bias=attention.in_proj_bias is not None)
        made.in_proj_weight = attention.in_proj_weight
        made.in_proj_bias = attention.in_proj_bias
        made.out_proj = attention.out_proj
        return made.train(attention.training)

    def forward(self,
                query: Tensor,
                key: Tensor,
                value: Tensor,
                attn_mask: Tensor | None = None,
                key_padding_mask: None = None) -> tuple[Tensor, None]:
        """Multi-head attention.

        Args:
            query: (Q, B, C).
            key: (K, B, C).
            value: (K, B, C).
            attn_mask: (B, Q, K) bool, True where a query may not look.
            key_padding_mask: Must be None.

        Returns:
            (Q, B, C), and None in the place of the weights.
        """
        if key_padding_mask is not None:
            raise ValueError('key_padding_mask is not supported')
        biases = ((None, ) * 3 if self.in_proj_bias is None else
                  self.in_proj_bias.chunk(3))
        # (L, B, C) -> (B, heads, L, C / heads). Batch first already in the
        # projection: mmcv's (L, B, C) is a transposed view, on which a CPU's
        # bfloat16 product takes some fifty times as long.
        query, key, value = (
            F.linear(each.transpose(0, 1), weight, bias).unflatten(
                -1, (self.num_heads, -1)).transpose(1, 2)
            for each, weight, bias in zip(
                (query, key, value), self.in_proj_weight.chunk(3), biases))
        found = F.scaled_dot_product_attention(
            query, key, value,
            attn_mask=None if attn_mask is None else ~attn_mask[:, None],
            dropout_p=self.dropout if self.training else 0.0)
        # (B, heads, Q, C / heads) -> (Q, B, C)
        return self.out_proj(
            found.transpose(1, 2).flatten(2)).transpose(0, 1), None


def outside_masks(logits: Tensor) -> Tensor:
    """Where a query may not look: outside its mask so far.

    Args:
        logits: (B, Q, h, w) of the masks, on the grid that is looked at.

    Returns:
        (B, Q, h * w) bool; all False for an empty mask.
    """
    outside = (logits < 0).flatten(2)
    return outside & ~outside.all(-1, keepdim=True)
