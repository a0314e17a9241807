"""Vision Transformers and their features; nothing here needs mmdet."""
from sohes.utils.versions import check_versions

check_versions('mmcv', 'mmpretrain')

from sohes.models.backbones.demo_weights import resolve_demo_weights
from sohes.models.backbones.frozen_vit import FrozenViT
from sohes.models.backbones.timm_vit import TimmViT
from sohes.models.backbones.vit_adapter import ViTAdapter
from sohes.models.backbones.vit_feature_extractor import ViTFeatureExtractor
from sohes.models.backbones.vit_presets import PRESETS, Preset
from sohes.models.backbones.vit_weights import ViTWeights, load_vit_weights
from sohes.models.backbones.vit_zoo import ZOO, weights_dir

__all__ = [
    'FrozenViT', 'PRESETS', 'Preset', 'TimmViT', 'ViTAdapter',
    'ViTFeatureExtractor', 'ViTWeights', 'ZOO', 'load_vit_weights',
    'resolve_demo_weights', 'weights_dir'
]
