"""What each family of ViTs wants from Phase 1, in one table."""
from dataclasses import dataclass

FEATURES = ('key', 'query', 'value', 'token')


@dataclass(frozen=True)
class Preset:
    """How to take features from a ViT, and where to cut their similarities.

    Attributes:
        feature: 'key', 'query' or 'value' of a block's attention (heads
            concatenated), or 'token', the block's output.
        block: 1 is the first block, -1 the last; a fraction in (0, 1) is a
            share of the depth and becomes a number in :meth:`at_depth`.
        center: whether each image's mean feature is subtracted.
        thresholds: cosine similarities in [-1, 1], falling, at which the
            merging is recorded (paper, section 3.1).
    """
    feature: str
    block: int | float
    center: bool
    thresholds: tuple[float, ...]

    def at_depth(self, depth: int) -> 'Preset':
        """The same with the block as a number of a ViT of this depth."""
        block = self.block
        if isinstance(block, float):
            block = max(1, round(block * depth))
        return Preset(self.feature, block, self.center, self.thresholds)


PRESETS: dict[str, Preset] = {
    # Keys of the last block and these thresholds are the paper's.
    'dino': Preset('key', -1, False, (0.6, 0.5, 0.4, 0.3, 0.2, 0.1)),
    # DINOv2's features share a large common direction that hides the
    # differences between patches; the image's mean removes it. The
    # thresholds are those of tools/analysis_tools/calibrate_thresholds.py on
    # photos of BSDS500 train: as many as give 200 masks an image. Tokens and
    # the block were picked on photos of BSDS500 val.
    'dinov2': Preset('token', 0.75, True,
                     (0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4, 0.35,
                      0.3, 0.25, 0.2, 0.15, 0.1, 0.05, 0.0, -0.05, -0.1,
                      -0.15, -0.2)),
    # DINOv2's values; no weights of DINOv3 were at hand to measure with
    # (tools/analysis_tools/calibrate_thresholds.py finds thresholds for them).
    'dinov3': Preset('token', 0.75, True,
                     (0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4, 0.35,
                      0.3, 0.25, 0.2, 0.15, 0.1, 0.05, 0.0, -0.05, -0.1,
                      -0.15, -0.2)),
    # An unknown ViT: centring does no harm where no direction is shared.
    'generic': Preset('key', -1, True,
                      (0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)),
}
