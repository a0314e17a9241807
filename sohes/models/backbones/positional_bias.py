"""Features without what they say of a patch's place, whatever it shows.

INSID3 (Cuttano et al., CVPR 2026, arXiv 2603.28480) finds such a bias in
DINOv3: the features of a black image differ from place to place. Their
directions are projected out of other images' features.
"""
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# INSID3 takes 500 of ViT-L's 1024 directions.
SHARE = 0.5
# Of float32: what varies less than this in unit vectors is no bias.
_ROUNDING = 1e-6


class PositionalBias:
    """Projects the directions of a black image's features out of others.

    They are the principal directions of its patches' unit vectors around
    their mean, the strongest ones, at most ``SHARE`` of the channels. They
    are found anew for each grid.

    Args:
        features_of: normalised pixels (B, 3, H, W) to features
            (B, C, h, w) float32.
    """

    def __init__(self, features_of: Callable[[Tensor], Tensor]) -> None:
        self._features_of = features_of
        # (H, W) in pixels to (C, k)
        self._directions: dict[tuple[int, ...], Tensor] = {}

    def remove(self, features: Tensor, black: Tensor) -> Tensor:
        """Features without the part that depends on the place.

        Args:
            features: (B, C, h, w) float32.
            black: (3, H, W), a black image as the ViT's normalised input for
                that grid; looked at when its size is new.

        Returns:
            (B, C, h, w) float32.
        """
        size = tuple(black.shape[1:])
        if size not in self._directions:
            self._directions[size] = _directions(
                self._features_of(black[None])[0])
        found = self._directions[size]
        flat = features.flatten(2)  # (B, C, h, w) -> (B, C, h * w)
        return (flat - found @ (found.T @ flat)).view_as(features)


def _directions(features: Tensor) -> Tensor:
    """(C, h, w) to the orthonormal directions in which it varies, (C, k)."""
    flat = F.normalize(features.flatten(1), dim=0)  # (C, h * w)
    flat = flat - flat.mean(1, keepdim=True)
    directions, strengths, _ = torch.linalg.svd(flat, full_matrices=False)
    varying = int((strengths > _ROUNDING * flat.shape[1]**0.5).sum())
    return directions[:, :min(int(SHARE * len(flat)), varying)].contiguous()
