"""The entities of one photo at a time, from Phase 1 or from a checkpoint."""
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sohes.structures import EntityForest


@dataclass(frozen=True)
class PhotoEntities:
    """What was found in a photo.

    Attributes:
        rles: N compressed COCO RLEs at the photo's size.
        scores: (N,) float64.
        forest: of the N masks.
        levels: (N,) int, 0 whole, 1 part, 2 subpart, of a model that
            predicts them; None: of others.
    """
    rles: list[dict]
    scores: np.ndarray
    forest: EntityForest
    levels: np.ndarray | None = None


#: (H, W, 3) uint8 RGB -> what was found
Finder = Callable[[np.ndarray], PhotoEntities]


def phase1_finder(config: Mapping[str, Any], weights: str | None) -> Finder:
    """Phase 1 without files: pseudo-labels of one photo (section 3.1).

    Args:
        config: such as configs/sohes_phase1.py, read.
        weights: replaces the extractor's; a name or a file.

    Raises:
        UsageError: for whatever the person can mend.
    """
    from sohes.apis.generate import UsageError, build_extractor, read_config
    from sohes.pseudo_labels.methods import explore
    from sohes.pseudo_labels.refinement import build_refiner
    try:
        options, arguments, _ = read_config(config, weights)
        build_refiner(options.refiner)
        extractor = build_extractor(arguments)
    except (ValueError, OSError, ImportError) as error:
        raise UsageError(str(error)) from error
    thresholds = options.thresholds or tuple(extractor.preset.thresholds)

    def find(image: np.ndarray) -> PhotoEntities:
        found = explore(image, extractor, thresholds, options)
        return PhotoEntities(found.rles, found.scores, found.forest)

    return find


def checkpoint_finder(config: str | None, weights: str,
                      device: str | None = None,
                      min_score: float = 0.3,
                      trust_checkpoint: bool = False,
                      vit_weights: str | None = None) -> Finder:
    """A trained model, through :class:`~sohes.apis.EntityInferencer`.

    Args:
        config: a configuration; None: the one inside the checkpoint.
        weights: the checkpoint, or 'sohes-vits14-demo'.
        device: such as 'cuda:0'; None: a GPU if there is one.
        min_score: in [0, 1]; masks below it are left out.
        trust_checkpoint: run what the checkpoint carries beside data.
        vit_weights: of a model whose ViT is not in its file.

    Raises:
        UsageError: for whatever the person can mend.
    """
    from sohes.apis import EntityInferencer
    return inferencer_finder(
        EntityInferencer(config, weights, device, show_progress=False,
                         trust_checkpoint=trust_checkpoint,
                         vit_weights=vit_weights), min_score)


def inferencer_finder(inferencer: Any, min_score: float = 0.3) -> Finder:
    """What an :class:`~sohes.apis.EntityInferencer` finds in a photo.

    Args:
        inferencer: of a trained model.
        min_score: in [0, 1]; masks below it are left out.
    """
    from sohes.evaluation.predictions import ImagePrediction

    def find(image: np.ndarray) -> PhotoEntities:
        # Arrays are BGR, as OpenCV reads them.
        sample, = inferencer(
            np.ascontiguousarray(image[..., ::-1]),
            return_datasamples=True)['predictions']
        found = ImagePrediction.of_instances(
            'photo', sample.pred_instances).above(min_score)
        return PhotoEntities(found.rles, found.scores, found.forest,
                             found.levels)

    return find
