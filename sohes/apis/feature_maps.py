"""Computes the maps of a frozen ViT once, before training."""
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from numpy.typing import NDArray

from sohes.models.backbones.feature_maps import FeatureMapStore
from sohes.models.backbones.frozen_vit import FrozenViT
from sohes.models.backbones.vit_feature_extractor import RGB_MEAN, RGB_STD
from sohes.pseudo_labels.images import load_image
from sohes.registry import DATASETS, MODELS
from sohes.utils.imports import import_quietly
from sohes.utils.progress import Progress

_LOG = logging.getLogger(__name__)


def keep_feature_maps(config: Config, quiet: bool = False) -> int:
    """Write the maps of all photos of a training that has none yet.

    Several processes (``RANK`` and ``WORLD_SIZE``) share the photos. A
    photo that cannot be read is left to the training to report.

    Args:
        config: With ``feature_maps`` of ``folder`` and ``max_gb``, as
            :class:`FeatureMapStore` has them; without it nothing is done.
        quiet: No progress.

    Returns:
        How many were written.

    Raises:
        TypeError: ``feature_maps`` has another key.
        ValueError: The backbone is not a ``sohes.FrozenViT``.
    """
    options = config.get('feature_maps')
    if not options:
        return 0
    import_quietly('mmdet.datasets')
    kind = _backbone(config).type
    found = MODELS.get(kind) if isinstance(kind, str) else kind
    if found is None or not issubclass(found, FrozenViT):
        raise ValueError(
            'feature_maps keeps the maps of a sohes.FrozenViT, and the '
            f'backbone is {kind}: set feature_maps=None and take '
            'sohes.LoadFeatureMap out of the pipelines')
    backbone = MODELS.build(_backbone(config))
    store = FeatureMapStore(settings=backbone.settings(), **options)
    rank = int(os.environ.get('RANK', 0))
    photos = sorted(_photos(config))
    missing = [
        photo for photo in photos[rank::int(os.environ.get('WORLD_SIZE', 1))]
        if os.path.isfile(photo) and not store.path(photo).is_file()
    ]
    if not missing:
        return 0
    with Progress(len(missing), quiet, task='feature maps',
                  unit='photos') as progress:
        for photo in missing:
            store.write(photo, photo_map(backbone, load_image(photo)))
            progress.step()
    return len(missing)


def photo_map(backbone: FrozenViT,
              photo: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The map of one photo.

    Args:
        backbone: The frozen ViT.
        photo: (H, W, 3) uint8 RGB.

    Returns:
        (h, w, C).
    """
    pixels = (photo - np.float32(RGB_MEAN)) / np.float32(RGB_STD)
    tokens = backbone.tokens(torch.from_numpy(pixels).permute(2, 0, 1)[None])
    return tokens[0].permute(1, 2, 0).numpy()


def _backbone(config: Config) -> Mapping[str, Any]:
    model = config.model
    return model.get('detector', model).backbone


def _photos(config: Config) -> Iterator[str]:
    """The files of the training's photos, each once."""
    dataset = config.train_dataloader.dataset
    parts = [dataset[name] for name in ('labeled', 'unlabeled')
             if name in dataset] or [dataset]
    seen: set[str] = set()
    for part in parts:
        built = DATASETS.build(dict(part, pipeline=[]))
        for index in range(len(built)):
            path = str(built.get_data_info(index)['img_path'])
            name = str(Path(path).resolve())
            if name not in seen:
                seen.add(name)
                yield path
