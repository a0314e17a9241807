import math

import pytest
import torch

from sohes.models.dense_heads.ancestor_head import (
    AncestorHead,
    AncestorLoss,
    ancestor_targets,
)


def test_targets_of_a_match_by_hand():
    # Ground truth 0 contains 1, which contains 2; 3 stands alone.
    ancestors = torch.zeros(4, 4, dtype=torch.bool)
    ancestors[0, 1] = ancestors[0, 2] = ancestors[1, 2] = True
    matched = torch.tensor([2, -1, 0, 3, 1])
    assert ancestor_targets(matched, ancestors).int().tolist() == [
        [0, 0, 0, 0, 0],  # the innermost
        [0, 0, 0, 0, 0],  # no ground truth
        [1, 0, 0, 0, 1],  # the whole
        [0, 0, 0, 0, 0],  # alone
        [1, 0, 0, 0, 0],  # the part between
    ]


def test_targets_without_ground_truths():
    none = torch.zeros(0, 0, dtype=torch.bool)
    targets = ancestor_targets(torch.full((3, ), -1), none)
    assert targets.shape == (3, 3) and not targets.any()


def test_logits_are_those_of_the_paper():
    torch.manual_seed(0)
    head = AncestorHead(4)
    queries = torch.arange(24.).view(2, 3, 4) / 10
    w1, w2 = head.ancestor.weight.T, head.descendant.weight.T
    expected = torch.stack([(q @ w1) @ (q @ w2).T / math.sqrt(4)
                            for q in queries])
    assert torch.allclose(head(queries), expected, atol=1e-6)
    assert not torch.allclose(expected, expected.transpose(1, 2), atol=1e-3)


LOGITS = torch.tensor([[[9., 1, -2], [0, 9, 3], [-1, 2, 9]]])
TARGETS = torch.tensor([[[0, 1, 0], [0, 0, 0], [0, 1, 0]]]).bool()
MATCHED = torch.tensor([[True, True, False]])


def soft(x: float) -> float:
    """Cross-entropy of a logit whose target is 0; of minus one if 1."""
    return math.log1p(math.exp(x))


@pytest.mark.parametrize('options, expected', [
    ({}, (soft(-1) + soft(-2) + soft(-2) + soft(0) + soft(3) + soft(-1)) / 6),
    (dict(pos_weight=4.0, loss_weight=0.5),
     (4 * soft(-1) + soft(-2) + 4 * soft(-2) + soft(0) + soft(3) + soft(-1)) /
     12),
    (dict(pos_weight='balanced'),
     (soft(-1) + soft(-2)) / 4 + (soft(-2) + soft(0) + soft(3) + soft(-1)) /
     8),
    (dict(matched_only=True), (soft(-1) + soft(0)) / 2),
])
def test_loss_by_hand(options, expected):
    loss = AncestorLoss(**options)(LOGITS, TARGETS, MATCHED)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('pos_weight', [1.0, 'balanced'])
@pytest.mark.parametrize('queries', [1, 3])
def test_no_pair_is_no_loss(pos_weight, queries):
    logits = torch.full((2, queries, queries), 80., requires_grad=True)
    nothing = torch.zeros(2, queries, queries, dtype=torch.bool)
    loss = AncestorLoss(
        pos_weight=pos_weight, matched_only=True)(logits, nothing,
                                                  nothing[:, 0])
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0


def test_half_precision_logits_give_a_float32_loss():
    loss = AncestorLoss()(LOGITS.bfloat16(), TARGETS, MATCHED)
    assert loss.dtype == torch.float32


@pytest.mark.parametrize('pos_weight', [0, -1.0, float('nan'), 'equal'])
def test_wrong_pos_weight(pos_weight):
    with pytest.raises(ValueError, match="above 0 or 'balanced'"):
        AncestorLoss(pos_weight=pos_weight)


def test_the_diagonal_counts_when_asked():
    # Two queries, no relation: of the pairs only (0, 0) is predicted wrong.
    logits = torch.full((1, 2, 2), -50.)
    logits[0, 0, 0] = 50.
    targets = torch.zeros(1, 2, 2, dtype=torch.bool)
    matched = torch.ones(1, 2, dtype=torch.bool)
    losses = [AncestorLoss(diagonal=each)(logits, targets, matched).item()
              for each in (False, True)]
    assert losses == pytest.approx([0., 50 / 4], abs=1e-6)
