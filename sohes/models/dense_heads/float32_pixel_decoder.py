"""mmdet's pixel decoder, kept out of mixed precision."""
import torch
from mmdet.models.layers import MSDeformAttnPixelDecoder
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.utils import ConfigType
from mmengine import ConfigDict
from torch import Tensor

from sohes.registry import MODELS


@MODELS.register_module()
class Float32PixelDecoder(MSDeformAttnPixelDecoder):
    """Runs in float32 under AMP too.

    mmcv's deformable attention has no bfloat16 on a GPU. Mask2Former's
    authors keep this part in full precision as well.
    """

    def forward(self,
                feats: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Fuses feature maps.

        Args:
            feats: Feature maps, largest first, each (B, C, h, w).

        Returns:
            Mask features at the largest map's size, and the maps for the
            transformer decoder, smallest first; all float32.
        """
        with torch.autocast(feats[0].device.type, enabled=False):
            return super().forward([feat.float() for feat in feats])


def in_float32(pixel_decoder: ConfigType) -> ConfigType:
    """Puts our pixel decoder in the place of mmdet's; others stay.

    Configs written for mmdet's head name mmdet's decoder. Weights and
    options are the same.
    """
    kind = pixel_decoder['type']
    if isinstance(kind, str):
        kind = MMDET_MODELS.get(kind)
    if kind is not MSDeformAttnPixelDecoder:
        return pixel_decoder
    return type(pixel_decoder)(pixel_decoder, type='sohes.Float32PixelDecoder')


def with_levels(pixel_decoder: ConfigType, levels: int) -> ConfigDict:
    """A decoder without attention still says what mmdet's head asserts."""
    config = ConfigDict(pixel_decoder)
    config.setdefault(
        'encoder', dict(layer_cfg=dict(self_attn_cfg=dict(num_levels=levels))))
    return config
