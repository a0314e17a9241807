"""How far an average recall depends on which images it was counted on."""
from collections.abc import Sequence

import numpy as np

from sohes.evaluation.mask_matching import ImageMatches

#: How often images are drawn.
SAMPLES = 2000
#: With fewer images an interval says little but what its extremes are.
FEWEST_IMAGES = 20
#: Percentiles between which 95 % of the values lie.
INTERVAL = (2.5, 97.5)


def resampled_ar(images: Sequence[ImageMatches],
                 samples: int = SAMPLES,
                 seed: int = 0) -> np.ndarray:
    """AR of as many images, drawn from them with replacement (bootstrap).

    Methods that were matched on the same images in the same order are drawn
    alike by the same seed, so their values may be subtracted one by one.

    Args:
        images: Of ``match_image``; the most predictions an image count.
        samples: How often to draw.
        seed: Of the draws.

    Returns:
        (samples,) AR in percent, nan where no image with a mask was drawn.

    Raises:
        ValueError: No image.
    """
    if not images:
        raise ValueError('no image to evaluate on')
    count = len(images)
    # How often each image is drawn.
    draws = np.random.default_rng(seed).multinomial(
        count, np.full(count, 1 / count), size=samples)
    hits = draws @ np.stack([image.hits[0, -1] for image in images])
    positives = draws @ np.array([image.positives[0] for image in images])
    return np.divide(100 * hits.mean(1), positives,
                     out=np.full(samples, np.nan), where=positives > 0)


def interval(values: np.ndarray) -> tuple[float, float]:
    """Where 95 % of resampled values lie; nan without values."""
    values = values[~np.isnan(values)]
    if not len(values):
        return np.nan, np.nan
    low, high = np.percentile(values, INTERVAL)
    return float(low), float(high)
