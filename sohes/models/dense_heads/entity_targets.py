"""The ground truth of one image, as the entity head wants it."""
import torch
from mmdet.structures import DetDataSample
from mmdet.utils import InstanceList, reduce_mean
from mmengine.structures import InstanceData
from torch import Tensor

from sohes.structures import EntityForest
from sohes.structures.bit_masks import BitMasks


def entity_targets(sample: DetDataSample,
                   device: torch.device) -> InstanceData:
    """Checks and completes the ground truth of one image.

    Args:
        sample: ``gt_instances`` has N ``labels`` (all 0), N ``masks``
            (:class:`BitMasks`, or mmdet's ``BitmapMasks``, ``PolygonMasks``
            or a tensor, which are packed) and N x N ``ancestors``; where
            these are absent, the forest is computed from the masks'
            coverage (section 3.1). Perhaps N ``scores``.
        device: Where the head runs.

    Returns:
        ``labels`` (N,) int64, ``masks`` :class:`BitMasks`, ``ancestors``
        (N, N) bool and ``scores`` (N,) float32, 1 where there were none, on
        ``device``.

    Raises:
        ValueError: A label is not 0, or ``ancestors`` is not N x N; the
            image is named.
    """
    truths = sample.gt_instances
    name = sample.metainfo.get('img_path', sample.metainfo.get('img_id'))
    labels = torch.as_tensor(truths.labels, device=device).long()
    if (labels != 0).any():
        raise ValueError(
            f'labels of {name} must all be 0, for the one class entity; got '
            f'{sorted(set(labels.tolist()))}: use EntityDataset, or give '
            "your dataset metainfo=dict(classes=('entity', )) and its "
            'annotations one category')
    masks = BitMasks.from_any(truths.masks).to(device)
    if 'ancestors' in truths:
        ancestors = truths.ancestors
        if tuple(ancestors.shape) != (len(masks), len(masks)):
            raise ValueError(
                f'ancestors of {name} must be {len(masks)} x {len(masks)}, '
                f'got {tuple(ancestors.shape)}: who drops ground truths '
                'must drop rows and columns')
    else:
        forest = EntityForest.from_masks(masks.cpu().dense().numpy())
        ancestors = torch.tensor(forest.ancestors)
    # InstanceData would index rows alone: a plain field is safe only here,
    # where nobody filters any more.
    scores = truths.get('scores', torch.ones(len(masks)))
    return InstanceData(
        labels=labels,
        masks=masks,
        ancestors=ancestors.to(device).bool(),
        scores=scores.to(device).float())


def add_score_weights(batch_gt_instances: InstanceList,
                      power: float) -> None:
    """Gives each ground truth a weight, score ** power, with a mean of 1.

    Phase 1 scores a mask by how long its region stood alone and by its area
    (:func:`region_score`), times the IoU that refinement left it with, so
    large masks score more than small ones. A power of 1 keeps the ratios of
    the scores, and a smaller one brings the weights nearer to each other.
    What scores 0 teaches neither mask nor entity.

    Args:
        batch_gt_instances: Of this process, with ``scores``; each gets
            ``weights`` (M,) float32. The mean is that over the ground
            truths of all processes.
        power: Above 0. A negative score counts as 0.
    """
    weights = [each.scores.clamp(min=0)**power
               for each in batch_gt_instances]
    total = torch.cat(weights)
    total, count = reduce_mean(
        torch.stack([total.sum(), total.new_tensor(float(len(total)))]))
    for truths, each in zip(batch_gt_instances, weights):
        # Without any score above 0 no mask counts.
        truths.weights = each * count / total.clamp(min=1e-30)


@torch.no_grad()
def point_iou(logits: Tensor, targets: Tensor) -> Tensor:
    """IoU of predicted masks and their targets, measured at points.

    Args:
        logits: (N, P); a point is in the mask where its logit is above 0.
        targets: (N, P) in [0, 1], inside where above 0.5.

    Returns:
        (N,) float32 in [0, 1]; 0 where neither has a point.
    """
    inside, wanted = logits > 0, targets > 0.5
    shared = (inside & wanted).sum(1)
    return shared / (inside | wanted).sum(1).clamp(min=1)


@torch.no_grad()
def best_point_iou(logits: Tensor, targets: Tensor) -> Tensor:
    """The greatest IoU of each predicted mask with any target, at points.

    Args:
        logits: (Q, P); a point is in the mask where its logit is above 0.
        targets: (M, P) in [0, 1], inside where above 0.5.

    Returns:
        (Q,) float32 in [0, 1]; 0 without targets.
    """
    if not len(targets):
        return logits.new_zeros(len(logits))
    inside, wanted = (logits > 0).float(), (targets > 0.5).float()
    shared = inside @ wanted.T
    union = inside.sum(1, keepdim=True) + wanted.sum(1) - shared
    return (shared / union.clamp(min=1)).max(1).values
