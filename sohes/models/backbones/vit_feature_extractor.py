"""Patch features of a frozen ViT, for the clustering of Phase 1."""
import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sohes.models.backbones.positional_bias import PositionalBias
from sohes.models.backbones.timm_vit import Projection as TimmProjection
from sohes.models.backbones.timm_vit import TimmViT
from sohes.registry import MODELS
from sohes.utils.errors import FileError
from sohes.utils.imports import import_quietly
from sohes.utils.precision import fast_dtype
from sohes.weights.timm_vit_weights import TimmViTWeights
from sohes.weights.vit_presets import FEATURES, PRESETS
from sohes.weights.vit_weights import ViTWeights, load_vit_weights
from sohes.weights.vit_zoo import locate_weights

Images = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]

_DTYPES = {
    'fp32': torch.float32,
    'fp16': torch.float16,
    'bf16': torch.bfloat16
}
# ImageNet's, of RGB in [0, 255]: DINO, DINOv2 and timm's ViTs train with it.
RGB_MEAN = (123.675, 116.28, 103.53)
RGB_STD = (58.395, 57.12, 57.375)


@MODELS.register_module()
class ViTFeatureExtractor:
    """Keys, queries, values or tokens of one block of a ViT.

    The ViT is mmpretrain's ``VisionTransformer``, or :class:`TimmViT` where
    it has register tokens, built through the registry only as deep as the
    wanted block. Where the patch grid is not the one that the position
    embedding was trained at, mmpretrain resizes the embedding bicubically,
    without antialiasing. CLS and register tokens are dropped.

    Args:
        weights: a name of the zoo (``dino_vitb8``) or a file ending in
            .pth, .safetensors or .onnx.
        feature: 'key', 'query', 'value' (heads concatenated) or 'token',
            the output of the block, without the final norm. None: the
            family's preset, as for the next two.
        block: 1 is the first, -1 the last.
        center: subtract each image's mean feature over its patches.
        dtype: 'fp32', 'fp16' or 'bf16', what the layers compute in (the
            residual stream and the result stay float32), or 'auto': 'bf16'
            where the device is fast in it (`fast_dtype`), else 'fp32'.
        device: 'cpu', 'cuda', ...; None takes CUDA where there is one.
        interpolate: how images are resized, antialiased: 'bicubic' or
            'bilinear'.
        num_heads: heads per block; None: 64 channels each, which holds
            for every known family.
        debias: take out of the features what depends on a patch's place
            alone, see :class:`PositionalBias`; before ``center``.

    Attributes:
        patch_size: side of a patch in pixels.
        embed_dims: C, channels of a feature.
        family: 'dino', 'dinov2', 'dinov3' or 'generic'.
        preset: the family's preset, its block a number.
        feature, block, center: what is in use (``block`` from the front).
        dtype_name: 'fp32', 'fp16' or 'bf16', likewise.
        weights_hash: SHA-256 of the file of weights, 64 hex digits.

    Raises:
        ValueError: for arguments out of range and weights that cannot be
            used; the message says which.
    """

    def __init__(self,
                 weights: str | Path,
                 *,
                 feature: str | None = None,
                 block: int | None = None,
                 center: bool | None = None,
                 dtype: str = 'fp32',
                 device: str | None = 'cpu',
                 interpolate: str = 'bicubic',
                 num_heads: int | None = None,
                 debias: bool = False) -> None:
        if dtype not in (*_DTYPES, 'auto'):
            raise ValueError(f"dtype: expected 'auto' or one of "
                             f'{list(_DTYPES)}, found {dtype!r}')
        if interpolate not in ('bicubic', 'bilinear'):
            raise ValueError("interpolate: expected 'bicubic' or 'bilinear', "
                             f'found {interpolate!r}')
        if not isinstance(debias, bool):
            raise ValueError(
                f'debias: expected True or False, found {debias!r}')
        self.bias = PositionalBias(self.tokens) if debias else None
        located = locate_weights(weights)
        loaded = load_vit_weights(located.path, located.family,
                                  located.sha256)
        self.family = loaded.family
        self.preset = PRESETS[loaded.family].at_depth(loaded.depth)
        self.feature = self.preset.feature if feature is None else feature
        if self.feature not in FEATURES:
            raise ValueError(f'feature: expected one of {list(FEATURES)}, '
                             f'found {feature!r}')
        self.block = _from_the_front(
            self.preset.block if block is None else block, loaded.depth)
        self.center = self.preset.center if center is None else bool(center)
        self.patch_size = loaded.patch_size
        self.embed_dims = loaded.embed_dims
        self.weights_hash = loaded.sha256
        if device is None:
            device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self.device = torch.device(device)
        self.dtype_name = (fast_dtype(self.device)
                           if dtype == 'auto' else dtype)
        self.dtype = _DTYPES[self.dtype_name]
        self.interpolate = interpolate
        self.vit = self._build(loaded, num_heads)
        self._mean = self._channels(RGB_MEAN)
        self._std = self._channels(RGB_STD)
        self._check_autocast(dtype)

    def _build(self, loaded: ViTWeights | TimmViTWeights,
               num_heads: int | None) -> nn.Module:
        """The ViT up to the wanted block, frozen."""
        cfg = loaded.backbone_cfg(
            depth=self.block, num_heads=num_heads, final_norm=False)
        if cfg['type'].startswith('mmpretrain.'):
            import_quietly('mmpretrain.models')
        vit = MODELS.build(cfg)
        names = vit.state_dict().keys()
        vit.load_state_dict(
            {name: loaded.state_dict[name] for name in names})
        for name, value in vit.state_dict().items():
            if not torch.isfinite(value).all():
                raise FileError(
                    f'weights: {name} holds values that are no finite '
                    'numbers; the file is damaged, or its training diverged')
        if self.feature != 'token':
            cut = TimmProjection if isinstance(vit, TimmViT) else _Projection
            vit.layers[-1] = cut(vit.layers[-1], self.feature)
        vit.requires_grad_(False)
        vit.eval()  # mmpretrain's eval() returns None
        return vit.to(self.device)

    def grid(self, size: int) -> int:
        """Patches per side for a wanted side length in pixels.

        A side that the patch does not divide becomes the nearest multiple
        of it (of two equally near ones the larger), at least one patch.
        """
        if size < 1:
            raise ValueError(f'size: expected at least 1, found {size}')
        return max(1, int(size / self.patch_size + 0.5))

    @torch.inference_mode()
    def __call__(
            self,
            images: Images,
            size: int,
            center: bool | None = None,
            mean: NDArray[np.floating] | None = None
    ) -> NDArray[np.float32]:
        """Features of a batch of images, in one forward pass.

        Args:
            images: RGB images (H, W, 3) of any sizes, or (B, H, W, 3), in
                uint8. Each is resized to a square, whatever its shape.
            size: side of that square in pixels, see :meth:`grid`.
            center: overrides the extractor's own.
            mean: (C,) or (B, C), subtracted instead of each image's mean;
                not together with ``center=False``.

        Returns:
            float32 array (B, h, w, C), h = w = ``grid(size)``.

        Raises:
            ValueError: an empty batch, an image that is not uint8 RGB, a
                mean of another shape.
        """
        h = self.grid(size)
        batch = torch.stack(
            [self._prepare(image, h) for image in _checked(images)])
        features = self.tokens(batch)
        if self.bias is not None:
            black = (-self._mean / self._std).expand_as(batch[0])
            features = self.bias.remove(features, black)
        features = features.permute(0, 2, 3, 1)
        if mean is not None:
            if center is False:
                raise ValueError('mean: not together with center=False')
            features = features - self._checked_mean(mean, len(batch))
        elif self.center if center is None else center:
            features = features - features.mean(dim=(1, 2), keepdim=True)
        return features.cpu().numpy()

    def tokens(self, batch: Tensor) -> Tensor:
        """Features of images that are prepared already, on their device.

        Args:
            batch: (B, 3, H, W), normalised, H and W multiples of the patch.

        Returns:
            (B, C, h, w) float32, nothing subtracted.
        """
        with self._autocast():
            tokens = self.vit(batch)[0]
        # The E extra tokens are dropped.
        tokens = tokens[:, self.vit.num_extra_tokens:].float()
        size = [side // self.patch_size for side in batch.shape[2:]]
        # (B, h * w, C) -> (B, C, h, w)
        return tokens.transpose(1, 2).unflatten(2, size)

    def _prepare(self, image: NDArray[np.uint8], grid: int) -> Tensor:
        """Resize to the ViT's input (3, S, S) and normalise.

        The resize works on bytes and on the CPU, as PIL's does, with which
        these ViTs were trained: every device sees the same pixels.
        """
        pixels = torch.from_numpy(np.ascontiguousarray(image))
        pixels = pixels.permute(2, 0, 1)[None]
        side = grid * self.patch_size
        if pixels.shape[2:] != (side, side):
            pixels = F.interpolate(
                pixels, (side, side),
                mode=self.interpolate,
                align_corners=False,
                antialias=True)
        return (pixels[0].to(self.device) - self._mean) / self._std

    def _autocast(self) -> AbstractContextManager:
        """Lower precision inside the layers, where it was asked for."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def _check_autocast(self, dtype: str) -> None:
        try:
            with self._autocast():
                pass
        except RuntimeError as error:  # fp16 on a CPU with torch 2.1
            raise ValueError(
                f'dtype: expected one that torch {torch.__version__} can '
                f'compute in on {self.device.type}, found {dtype!r}: {error}'
            ) from error

    def _channels(self, values: Sequence[float]) -> Tensor:
        """One value a channel, (3, 1, 1)."""
        return torch.tensor(values, device=self.device).reshape(3, 1, 1)

    def _checked_mean(self, mean: NDArray[np.floating],
                      count: int) -> Tensor:
        """A given mean as a tensor (1 or B, 1, 1, C)."""
        given = torch.as_tensor(
            np.asarray(mean, dtype=np.float32), device=self.device)
        if tuple(given.shape) not in ((self.embed_dims, ),
                                      (count, self.embed_dims)):
            raise ValueError(
                f'mean: expected the shape ({self.embed_dims},) or '
                f'({count}, {self.embed_dims}), found {tuple(given.shape)}')
        return given.reshape(-1, 1, 1, self.embed_dims)


class _Projection(nn.Module):
    """A block cut down to its keys, queries or values.

    The attention itself and the feed-forward layers of that block are not
    needed for them, nor the other two thirds of the qkv layer.
    """

    def __init__(self, layer: nn.Module, feature: str) -> None:
        super().__init__()
        qkv = layer.attn.qkv
        width = qkv.in_features
        start = ('query', 'key', 'value').index(feature) * width
        self.norm = layer.ln1
        self.projection = nn.Linear(width, width, bias=qkv.bias is not None)
        self.projection.weight.data = qkv.weight.data[start:start + width]
        if qkv.bias is not None:
            self.projection.bias.data = qkv.bias.data[start:start + width]

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, C) -> (B, L, C), the heads side by side."""
        return self.projection(self.norm(tokens))


def _from_the_front(block: int, depth: int) -> int:
    """The block's number in 1 ... depth, from one that may be negative."""
    number = block if block > 0 else depth + 1 + block
    if block == 0 or not 1 <= number <= depth:
        raise ValueError(f'block: expected 1 to {depth} or -{depth} to -1, '
                         f'found {block}')
    return number


def _checked(images: Images) -> list[NDArray[np.uint8]]:
    """The batch as a list, each image uint8 RGB."""
    images = list(images)
    if not images:
        raise ValueError('images: expected at least one')
    for i, image in enumerate(images):
        if (not isinstance(image, np.ndarray) or image.dtype != np.uint8
                or image.ndim != 3 or image.shape[2] != 3 or not image.size):
            found = (f'{image.dtype} {image.shape}' if isinstance(
                image, np.ndarray) else type(image).__name__)
            raise ValueError(f'images[{i}]: expected a uint8 RGB array '
                             f'(H, W, 3), found {found}')
    return images
