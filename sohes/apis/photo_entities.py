"""The entities of one photo at a time, from Phase 1 or from a checkpoint."""
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sohes.structures import Entities

if TYPE_CHECKING:
    from sohes.visualization.viewer import Photo

_PACKAGE = Path(__file__).resolve().parents[1]


#: (H, W, 3) uint8 RGB -> what was found
Finder = Callable[[np.ndarray], Entities]


def label_image(photo: str | Path,
                config: str | Path | None = None,
                weights: str | Path | None = None) -> 'Photo':
    """Find the entities of one photo by Phase 1; nothing is trained.

    The ViT is built anew by every call. For many photos take
    :func:`phase1_finder`, for a folder :func:`~sohes.apis.generate`.

    Args:
        photo: its file.
        config: of Phase 1; None: configs/sohes_phase1_cpu.py.
        weights: of the ViT, a name such as 'dinov2_vits14' or a file; None:
            the configuration's.

    Returns:
        Its :class:`~sohes.structures.Entities`, with the photo:
        ``save_picture`` and ``save_json`` write them.

    Raises:
        ImageError: the photo cannot be read.
        UsageError: for whatever else the person can mend.

    Examples:
        >>> photo = label_image('photo.jpg')
        >>> photo.save_picture('forest.jpg')
        >>> photo.save_json('entities.json')
    """
    from sohes.apis.generate import phase1_config
    from sohes.pseudo_labels.images import load_image
    from sohes.visualization.viewer import Photo
    image = load_image(photo)
    if config is None:
        config = _configs() / 'sohes_phase1_cpu.py'
    find = phase1_finder(phase1_config(config),
                         None if weights is None else str(weights))
    return Photo.of(Path(photo).name, image, find(image))


def _configs() -> Path:
    """The folder of configurations: of the wheel, or of the checkout."""
    installed = _PACKAGE / '.mim' / 'configs'
    return installed if installed.is_dir() else _PACKAGE.parent / 'configs'


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
    return lambda image: explore(image, extractor, options)


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
    from sohes.evaluation.predictions import predicted_entities

    def find(image: np.ndarray) -> Entities:
        # Arrays are BGR, as OpenCV reads them.
        sample, = inferencer(
            np.ascontiguousarray(image[..., ::-1]),
            return_datasamples=True)['predictions']
        return predicted_entities(sample.pred_instances,
                                  image.shape[:2]).above(min_score)

    return find
