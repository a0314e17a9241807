"""Which query's mask is an ancestor of which: logits, targets and loss."""
import torch
import torch.nn.functional as F
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from sohes.registry import MODELS


class AncestorHead(nn.Module):
    """Ancestor logits from query features (SOHES, eq. 1).

    ``(Q W1) (Q W2)^T / sqrt(C)``: two mappings, because the relation is not
    symmetric. The sigmoid is left to the loss and to inference.

    Args:
        channels: C, of the query features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.ancestor = nn.Linear(channels, channels, bias=False)
        self.descendant = nn.Linear(channels, channels, bias=False)

    def forward(self, queries: Tensor) -> Tensor:
        """Relates every query to every other one.

        Args:
            queries: (B, N, C).

        Returns:
            (B, N, N) logits; [i, j] says that i is an ancestor of j.
        """
        scale = queries.shape[-1]**-0.5
        ancestors = self.ancestor(queries) * scale
        return ancestors @ self.descendant(queries).transpose(1, 2)


def ancestor_targets(matched: Tensor, ancestors: Tensor) -> Tensor:
    """Carries the relations of the ground truths over to the queries.

    Args:
        matched: (N,) int64, the ground truth of each query, -1 for none.
        ancestors: (M, M) bool among the ground truths.

    Returns:
        (N, N) bool, [i, j]: the ground truth of query i is an ancestor of
        that of query j. False wherever a query has none (section 3.2: the
        matrix is N x N).
    """
    count = len(matched)
    targets = ancestors.new_zeros((count, count))
    queries = torch.nonzero(matched >= 0).squeeze(1)
    truths = matched[queries]
    targets[queries[:, None], queries] = ancestors[truths[:, None], truths]
    return targets


@MODELS.register_module()
class AncestorLoss(nn.Module):
    """Binary cross-entropy over the ancestor matrix (section 3.2).

    Averages are over the pairs of all processes.

    Args:
        loss_weight: Of this loss beside the others.
        pos_weight: Weight of the pairs that are ancestor and descendant, a
            few in a hundred; those that are not have 1. 'balanced' gives
            either kind half of the loss, however many there are.
        matched_only: Only pairs in which both queries have a ground truth;
            the paper counts all N x N.
        diagonal: Count the pairs of a query and itself, too, which are never
            ancestors: the paper's N x N has them. The forest never asks.

    Raises:
        ValueError: ``pos_weight`` is neither positive nor 'balanced'.
    """

    def __init__(self,
                 loss_weight: float = 1.0,
                 pos_weight: float | str = 1.0,
                 matched_only: bool = False,
                 diagonal: bool = False) -> None:
        super().__init__()
        if pos_weight != 'balanced' and (isinstance(pos_weight, str)
                                         or not pos_weight > 0):
            raise ValueError("pos_weight must be above 0 or 'balanced', got "
                             f'{pos_weight!r}')
        self.loss_weight = loss_weight
        self.pos_weight = pos_weight
        self.matched_only = matched_only
        self.diagonal = diagonal

    def forward(self, logits: Tensor, targets: Tensor,
                matched: Tensor) -> Tensor:
        """The loss of one decoder layer.

        Args:
            logits: (B, N, N).
            targets: (B, N, N) bool, of :func:`ancestor_targets`.
            matched: (B, N) bool, the queries with a ground truth.

        Returns:
            One float32, 0 where no pair counts.
        """
        count = logits.shape[-1]
        counts = torch.ones(
            count, count, dtype=torch.bool, device=logits.device)
        if not self.diagonal:
            counts.fill_diagonal_(False)
        if self.matched_only:
            counts = counts & matched[:, :, None] & matched[:, None]
        counts = counts.expand_as(targets)
        losses = F.binary_cross_entropy_with_logits(
            logits.float(), targets.float(), reduction='none')
        positive, negative = counts & targets, counts & ~targets
        # One exchange between the processes for both numbers.
        numbers = reduce_mean(
            torch.stack([positive.sum(), negative.sum()]).float())
        if self.pos_weight == 'balanced':
            weights = 0.5 / numbers.clamp(min=1e-6)
        else:
            total = numbers.sum().clamp(min=1e-6)
            weights = numbers.new_tensor([self.pos_weight, 1.0]) / total
        weights = positive * weights[0] + negative * weights[1]
        return self.loss_weight * (losses * weights).sum()
