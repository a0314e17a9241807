"""Queries of training that are told where their entity is.

A query has two things to learn: which entity to take, and how to
decode its mask. The first changes with every step of the matching, and the
second suffers from it. Mask-piloted training (MP-Former, Zhang et al. 2023)
adds queries that learn the second alone: each is given a ground truth, looks
only inside its mask, and is compared with it, without matching. The
others do not see them, and at inference they are not there.
"""
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sohes.models.dense_heads.masked_attention import outside_masks
from sohes.structures.bit_masks import BitMasks


@dataclass
class PilotedQueries:
    """The extra queries of one batch, in one step.

    Images with fewer ground truths than another are padded with queries
    that no other query sees, and that no loss counts.

    Attributes:
        truths: (B, E) int64, the ground truth of each query of its image;
            -1 for padding.
        inside: (B, E, h, w) bool, the ground truths on the grid of the mask
            features.
        draws: (B, E, h, w) in [0, 1), which decide what the noise flips.
        noise: Flipped cells of the memory, as a share of the mask's area.
        predicted: Class logits (B, E, 2) and mask logits (B, E, P) of each
            decoder layer so far. Before the first layer there are none: a
            query has not looked at anything yet.
    """
    truths: Tensor
    inside: Tensor
    draws: Tensor
    noise: float
    predicted: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    @classmethod
    def of(cls, drawn: list[tuple[Tensor, Tensor, Tensor]],
           noise: float) -> 'PilotedQueries':
        """Pads what :func:`draw_pilots` gave for each image."""
        truths, inside, draws = zip(*drawn)
        return cls(
            pad_sequence(truths, batch_first=True, padding_value=-1),
            pad_sequence(inside, batch_first=True),
            pad_sequence(draws, batch_first=True), noise)

    def join(self, queries: Tensor, positions: Tensor,
             content: Tensor) -> tuple[Tensor, Tensor]:
        """Appends the extra queries to the ordinary ones.

        Args:
            queries: (B, Q, C).
            positions: (B, Q, C).
            content: (1, C), of the one class. Beside it an extra query has
                its mask and no position.

        Returns:
            (B, Q + E, C) queries and positions.
        """
        extra = content.expand(*self.truths.shape, -1)
        return (torch.cat([queries, extra], 1),
                F.pad(positions, (0, 0, 0, extra.shape[1])))

    def outside(self, size: torch.Size) -> Tensor:
        """Where the extra queries may not look: outside of their masks.

        A cell is inside where the mask covers half of it, and a mask that
        covers half of none is where it covers most. Then the noise flips
        some cells (the paper's point noise), the same ones in every layer
        that looks at a grid of this size.

        Args:
            size: (h, w) of the grid that is looked at.

        Returns:
            (B, E, h * w) bool; all False where the noise leaves nothing.
        """
        if not self.truths.numel():  # which interpolate does not take
            return self.inside.new_zeros(*self.truths.shape, size.numel())
        covered = F.interpolate(self.inside.float(), size, mode='area')
        inside = covered >= covered.amax((2, 3), keepdim=True).clamp(max=0.5)
        area = inside.float().mean((2, 3), keepdim=True)
        flipped = F.interpolate(self.draws, size) < self.noise * area
        return outside_masks(torch.where(inside ^ flipped, 1.0, -1.0))

    def unseen(self, first: int) -> Tensor:
        """Which queries do not see which others in self-attention.

        Args:
            first: Q, the number of ordinary queries, which come first.

        Returns:
            (B, Q + E, Q + E) bool, [b, i, j]: i does not see j. Ordinary
            queries see each other alone; the extra ones see all but padding.
        """
        padding = F.pad(self.truths < 0, (first, 0))
        unseen = padding[:, None].repeat(1, padding.shape[1], 1)
        unseen[:, :first, first:] = True
        return unseen


def draw_pilots(masks: BitMasks, size: tuple[int, int],
                grid: tuple[int, int],
                most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draws the ground truths of an image that get an extra query.

    A mask so thin that it misses the centres of all cells gets none. Whatever
    torch's global generator gives decides.

    Args:
        masks: M ground truths.
        size: (H, W) of the padded batch, in pixels.
        grid: (h, w) of the mask features.
        most: Queries at most.

    Returns:
        (E,) int64, the ground truths drawn; (E, h, w) bool, their masks at
        the centres of the cells; and (E, h, w) in [0, 1), for the noise.
    """
    device = masks.device
    chosen = torch.randperm(len(masks), device=device)[:most]
    rows, columns = (
        ((torch.arange(cells, device=device) + 0.5) * (pixels / cells)).long()
        for cells, pixels in zip(grid, size))
    centres = torch.cartesian_prod(rows, columns).flip(1)
    inside = masks[chosen].at(centres)
    there = inside.any(1)
    chosen, inside = chosen[there], inside[there].unflatten(1, tuple(grid))
    return chosen, inside, torch.rand(inside.shape, device=device)
