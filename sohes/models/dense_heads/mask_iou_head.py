"""How good a predicted mask is: its IoU with the entity it means."""
import torch
import torch.nn.functional as F
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from sohes.registry import MODELS


class MaskIoUHead(nn.Module):
    """The IoU that each query's mask has with an entity, as a logit.

    It reads the query, the mean of the memory inside the query's mask and
    around it (a mask is good where what it holds differs from what it
    leaves out), the mask's area and how sure of itself it is. Ours; as Mask
    Scoring R-CNN (Huang et al. 2019), without a network over the mask.

    Args:
        channels: C, of queries and memory.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3 * channels + 2, channels), nn.ReLU(inplace=True),
            nn.Linear(channels, channels), nn.ReLU(inplace=True),
            nn.Linear(channels, 1))

    def forward(self, queries: Tensor, masks: Tensor,
                memory: Tensor) -> Tensor:
        """Judges the masks.

        Args:
            queries: (B, Q, C).
            masks: (B, Q, h, w) logits, on the grid of the memory.
            memory: (B, C, h, w).

        Returns:
            (B, Q, 1) logits of the IoU.
        """
        inside = masks.flatten(2).sigmoid()
        flat = memory.flatten(2).transpose(1, 2)
        around = _grown(masks).flatten(2).sigmoid() * (1 - inside)
        held = _mean(flat, inside)
        area = inside.mean(-1, keepdim=True).clamp(min=1e-4)
        sure = inside.square().mean(-1, keepdim=True) / area
        return self.layers(torch.cat([
            queries, held - flat.mean(1, keepdim=True),
            held - _mean(flat, around), area.log(), sure], dim=-1))


def _grown(masks: Tensor) -> Tensor:
    """(B, Q, h, w) logits, each the greatest within two cells."""
    across = F.max_pool2d(masks, (1, 5), stride=1, padding=(0, 2))
    return F.max_pool2d(across, (5, 1), stride=1, padding=(2, 0))


def _mean(memory: Tensor, weights: Tensor) -> Tensor:
    """(B, h * w, C) averaged with (B, Q, h * w) weights: (B, Q, C)."""
    total = weights.sum(-1, keepdim=True).clamp(min=1e-3)
    return (weights @ memory) / total


@MODELS.register_module()
class MaskIoULoss(nn.Module):
    """Binary cross-entropy of predicted and measured IoU, over the queries.

    Args:
        loss_weight: Of this loss beside the others.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, iou: Tensor,
                weights: Tensor) -> Tensor:
        """The loss of the last decoder layer.

        Args:
            logits: (B, Q), of :class:`MaskIoUHead`.
            iou: (B, Q) in [0, 1], of :func:`best_point_iou`.
            weights: (B, Q), how much each counts; mostly 1.

        Returns:
            One float32, the mean over the queries of all processes.
        """
        losses = F.binary_cross_entropy_with_logits(
            logits.float(), iou, weights, reduction='sum')
        count = reduce_mean(weights.float().sum()).clamp(min=1)
        return self.loss_weight * losses / count
