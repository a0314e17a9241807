"""Step 3: refine the masks' boundaries (section 3.1, table 2)."""
import functools
import importlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from sohes.pseudo_labels.proposals import Proposal
from sohes.pseudo_labels.window import Window, WindowRefiner


class NoRefiner:
    """Leave the masks as clustering made them."""

    def __call__(self, image: np.ndarray,
                 item: Proposal) -> tuple[np.ndarray, float]:
        """Draw the proposal.

        Returns:
            tuple: (H, W) bool mask, and its IoU with itself, 1.0.
        """
        return item.render(image.shape[:2]), 1.0

    def probabilities(self, pixels: np.ndarray,
                      soft: np.ndarray) -> np.ndarray:
        """Leave a partition's too; see `JointDenseCRF`."""
        return soft


class DenseCRFRefiner(WindowRefiner):
    """Fully connected CRF (Kraehenbuehl & Koltun, 2011) on a window.

    Two labels, the mask and the rest, inside the mask's box and a margin
    around it, never on the whole frame: outside there is nothing to decide.
    The unary term is the bilinearly resized membership of patches
    (`patch_membership`), or the patch mask where there is none, so that
    confidence falls off near the boundary.

    Args:
        iterations (int): mean-field iterations.
        margin (float): of the window, over the box's longer side.
        min_margin (int): of the window, in pixels.
        max_side (int): the window is shrunk to this longer side, in pixels.
        certainty (float): probability of the mask inside it, in (0.5, 1).
        smooth (tuple): weight, and extent in patches, of the kernel that
            asks neighbours to agree.
        appearance (tuple): weight, extent in patches, and extent in RGB
            levels of the kernel that asks like-coloured pixels to agree.
            Extents are in patches because that is how far off a boundary
            can be: a crop's masks are finer than the whole image's.
    """

    def __init__(self,
                 iterations: int = 5,
                 margin: float = 0.35,
                 min_margin: int = 16,
                 max_side: int = 512,
                 certainty: float = 0.9,
                 smooth: tuple[float, float] = (3, 0.33),
                 appearance: tuple[float, float, float] = (4, 1.7, 6)
                 ) -> None:
        try:
            import pydensecrf.densecrf as densecrf
        except ImportError as error:
            raise ImportError(
                'refiner densecrf needs the package pydensecrf2: '
                'pip install "sohes[refine]"') from error
        self.densecrf = densecrf
        self.iterations = iterations
        self.margin = margin
        self.min_margin = min_margin
        self.shrink_to = max_side
        self.certainty = certainty
        self.smooth = smooth
        self.appearance = appearance

    def refine(self, window: Window, pixels: np.ndarray, item: Proposal,
               before: np.ndarray) -> np.ndarray:
        """See :class:`WindowRefiner`."""
        shrink = before.shape[0] / (window.box[3] - window.box[1])
        return self._infer(pixels, window.likely(item),
                           item.patch_size * shrink)

    def _infer(self, pixels: np.ndarray, soft: np.ndarray,
               patch: float) -> np.ndarray:
        """Mean field on (h, w, 3) uint8 pixels and (h, w) probabilities."""
        height, width = soft.shape
        inside = np.clip(soft, 1 - self.certainty, self.certainty).ravel()
        crf = self.densecrf.DenseCRF2D(width, height, 2)
        crf.setUnaryEnergy(-np.log(np.stack([1 - inside, inside])).astype(
            np.float32))
        crf.addPairwiseGaussian(sxy=self.smooth[1] * patch,
                                compat=self.smooth[0])
        crf.addPairwiseBilateral(sxy=self.appearance[1] * patch,
                                 srgb=self.appearance[2],
                                 rgbim=pixels, compat=self.appearance[0])
        q = np.asarray(crf.inference(self.iterations))
        return (q[1] > q[0]).reshape(height, width)


def build_refiner(config: Mapping[str, Any]) -> Any:
    """Build the refiner of a config, once a process.

    Args:
        config (Mapping): ``type`` one of 'none', 'localcrf', 'densecrf',
            'cascadepsp', or a class of your own as 'package.module.Class',
            and that class's arguments.

    Returns:
        callable: (image, Proposal) -> ((H, W) bool mask, IoU with before),
        or a :class:`~sohes.pseudo_labels.best_first.CropRefiner` or
        :class:`~sohes.pseudo_labels.best_first.ImageRefiner`.

    Raises:
        ValueError: for an unknown type or argument.
        ImportError: if its package is missing, with the command.
    """
    return _build_once(json.dumps(dict(config), sort_keys=True))


@functools.lru_cache(maxsize=4)
def _build_once(text: str) -> Any:
    config = json.loads(text)
    kind = config.pop('type', None)
    try:
        return _refiner_class(kind)(**config)
    except TypeError as error:
        raise ValueError(f'refiner {kind}: {error}') from error


def _refiner_class(kind: Any) -> type:
    from sohes.pseudo_labels.cascadepsp import CascadePSPRefiner
    from sohes.pseudo_labels.joint_crf import JointDenseCRF
    from sohes.pseudo_labels.local_crf import LocalCRFRefiner
    kinds = dict(
        none=NoRefiner,
        densecrf=DenseCRFRefiner,
        cascadepsp=CascadePSPRefiner,
        localcrf=LocalCRFRefiner,
        joint_densecrf=JointDenseCRF)
    if kind in kinds:
        return kinds[kind]
    module, _, name = str(kind).rpartition('.')
    if not module:
        raise ValueError(f'refiner type {kind!r} is not known; one of '
                         f'{", ".join(kinds)}, or a class of your own as '
                         'package.module.Class')
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f'refiner type {kind!r}: {error}') from error
