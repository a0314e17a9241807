"""Compile what Phase 1 compiles, so that the first photo does not wait.

    python -m sohes.pseudo_labels.warm_up

numba keeps what it compiled beside the source files, or in its own folder
where it may not write there. Set-up calls this once.
"""
from collections.abc import Sequence

import numpy as np

from sohes.pseudo_labels.options import ExploreOptions, LocalOptions
from sohes.pseudo_labels.pipeline import explore
from sohes.structures import Entities


def _features(images: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Random features, (B, 8, 8, 4) float32, in place of a ViT's."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(len(images), 8, 8, 4)).astype(np.float32)


def warm_up() -> Entities:
    """Label an image of noise by all four steps."""
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    options = ExploreOptions(
        thresholds=(0.5, 0.0),
        local=LocalOptions(max_area=1e6, min_patches=1, windows=1),
        refiner=dict(type='localcrf'))
    return explore(image, _features, options)


if __name__ == '__main__':
    warm_up()
