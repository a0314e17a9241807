"""A frozen ViT beside a small convolutional stem that is trained."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from sohes.models.backbones.feature_maps import view_of_map
from sohes.models.backbones.vit_feature_extractor import ViTFeatureExtractor
from sohes.models.views import Box, crop_views
from sohes.registry import MODELS
from sohes.utils.files import sha256_of
from sohes.utils.precision import conv_memory_format
from sohes.weights.vit_zoo import locate_weights

#: The box of a view that shows the whole photo.
_WHOLE: Box = (0, 0, 1, 1)


@MODELS.register_module()
class FrozenViT(BaseModule):
    """Tokens of a ViT that is not trained, and fine features of a stem.

    For machines on which the ViT is dear: its maps are the same in every
    epoch, so they can be kept on disk (``sohes.LoadFeatureMap``) and given
    to :meth:`forward`; without them they are computed. The ViT is built
    when it is first needed, and is not part of the state dict: a checkpoint
    holds what was trained.

    Each view's mean token is subtracted: the tokens of DINOv2 share a large
    common direction.

    Args:
        weights: Of the ViT, a name of the zoo or a file.
        block: Whose tokens; 1 is the first, None the family's preset.
        vit_size: Side of the square that the ViT sees, in pixels; the
            images are resized to it. A multiple of the patch. Images whose
            map is not kept and which have fewer pixels are not enlarged, so
            that views of training and of Phase 3's teacher are seen as they
            are.
        test_vit_size: The same for the maps that :meth:`forward` and
            :meth:`maps_of_views` compute in evaluation mode; None: as in
            training. A smaller square costs less, and kept maps stay of
            ``vit_size``.
        view_vit_size: Side of the square in which the ViT sees each enlarged
            part that :meth:`maps_of_views` is asked for, in pixels, a
            multiple of the patch: one pass for each part, which finds small
            entities. None: parts are cut out of the map of the photo.
        cells: Side of the map that the head gets; of 2 x 2 samples each.
        stem_channels: Of the stem's convolutions of stride 2.
        stem_blocks: Residual blocks of two convolutions behind them; each
            lets a fine feature see two cells of its map further each way.
        dtype: Of :class:`ViTFeatureExtractor`, what the ViT computes in.
        init_cfg: As ever.
    """

    def __init__(self,
                 weights: str | Path,
                 *,
                 block: int | None = None,
                 vit_size: int = 742,
                 test_vit_size: int | None = None,
                 view_vit_size: int | None = None,
                 cells: int = 32,
                 stem_channels: Sequence[int] = (32, 64),
                 stem_blocks: int = 0,
                 dtype: str = 'auto',
                 init_cfg: Any = None) -> None:
        super().__init__(init_cfg)
        self.weights = weights
        self.block = block
        self.vit_size = vit_size
        self.test_vit_size = test_vit_size
        self.view_vit_size = view_vit_size
        self.cells = cells
        self.dtype = dtype
        self.memory_format = conv_memory_format()
        layers: list[nn.Module] = []
        channels = 3
        for width in stem_channels:
            layers += [*_convolution(channels, width, 2),
                       nn.ReLU(inplace=True)]
            channels = width
        layers += [_Block(channels) for _ in range(stem_blocks)]
        self.stem = nn.Sequential(*layers).to(
            memory_format=self.memory_format)
        # In a list, or it would be a submodule with weights to save.
        self._extractor: list[ViTFeatureExtractor] = []

    def settings(self) -> dict[str, Any]:
        """Everything that decides the maps, besides the photo."""
        located = locate_weights(self.weights)
        return dict(
            weights=located.sha256 or sha256_of(located.path),
            block=self.block,
            feature='token',
            vit_size=self.vit_size)

    def forward(
        self,
        images: Tensor,
        feature_maps: Sequence[Tensor | None] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Both feature maps of some views.

        Args:
            images: (B, 3, S, S), normalised with ImageNet's mean and
                deviation.
            feature_maps: For each view its (C, h, w), or None to compute
                it. None: compute all.

        Returns:
            The stem's (B, 64, S / 4, S / 4) and the ViT's (B, C, h, w),
            without each view's mean.
        """
        given = list(feature_maps or [None] * len(images))
        missing = [i for i, each in enumerate(given) if each is None]
        if missing:
            size = images.shape[2:]
            for i, tokens in zip(missing, self._computed(images[missing])):
                given[i] = view_of_map(tokens, np.eye(3), size, size,
                                       self.cells)
        maps = torch.stack([each.float() for each in given])
        maps = maps - maps.mean((2, 3), keepdim=True)
        return (self.stem(images.to(memory_format=self.memory_format)),
                maps)

    @torch.no_grad()
    def tokens(self, images: Tensor, side: int | None = None) -> Tensor:
        """The ViT's tokens of whole photos.

        Args:
            images: (B, 3, H, W) normalised, of any size.
            side: Of the square that the ViT sees, in pixels; None:
                ``vit_size``, which kept maps are of.

        Returns:
            (B, C, h, w) float32.
        """
        size = (side or self.vit_size,) * 2
        if tuple(images.shape[2:]) != size:
            images = F.interpolate(
                images.float(), size, mode='bicubic', align_corners=False,
                antialias=True)
        return self._built(images.device).tokens(images)

    def maps_of_views(self, image: Tensor,
                      boxes: Sequence[Box]) -> list[Tensor]:
        """The ViT's maps of parts of a photo.

        Cut out of the map of the photo, which is one pass of the ViT, or
        with ``view_vit_size`` computed for each part that is enlarged.

        Args:
            image: (3, H, W) normalised.
            boxes: V parts of it.

        Returns:
            V of (C, cells, cells).
        """
        side, size, maps = self.view_vit_size, tuple(image.shape[1:]), []
        own = [side is not None and box != _WHOLE for box in boxes]
        photo = None if all(own) else self._computed(image[None])[0]
        for box, alone in zip(boxes, own):
            tokens, place = photo, box
            if alone:
                part = crop_views(image, [box], side)
                tokens, place = self.tokens(part, side)[0], _WHOLE
            left, top, right, bottom = place
            scale = np.diag([1 / (right - left), 1 / (bottom - top), 1])
            scale[0, 2] = -left * size[1] * scale[0, 0]
            scale[1, 2] = -top * size[0] * scale[1, 1]
            maps.append(view_of_map(tokens, scale, size, size, self.cells))
        return maps

    def _computed(self, images: Tensor) -> Tensor:
        """Tokens that are not kept: of the mode's square, not enlarged."""
        side = self.vit_size
        if not self.training and self.test_vit_size is not None:
            side = self.test_vit_size
        shown = max(images.shape[2:])
        if shown < side:
            patch = self._built(images.device).patch_size
            side = max(shown // patch, 1) * patch
        return self.tokens(images, side)

    def _built(self, device: torch.device) -> ViTFeatureExtractor:
        if not self._extractor or self._extractor[0].device != device:
            self._extractor[:] = [
                ViTFeatureExtractor(
                    self.weights, feature='token', block=self.block,
                    center=False, dtype=self.dtype, device=str(device))
            ]
        return self._extractor[0]


class _Block(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_convolution(channels, channels, 1), nn.ReLU(inplace=True),
            *_convolution(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        return F.relu(x + self.layers(x))


def _convolution(before: int, after: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, stride, 1),
            nn.GroupNorm(min(8, after), after)]
