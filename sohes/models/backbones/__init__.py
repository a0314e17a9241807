"""Vision Transformers and their features; nothing here needs mmdet."""
from sohes.utils.errors import renamed
from sohes.utils.versions import check_versions

check_versions('mmcv', 'mmpretrain')

from sohes.models.backbones.frozen_vit import FrozenViT
from sohes.models.backbones.timm_vit import TimmViT
from sohes.models.backbones.vit_adapter import ViTAdapter
from sohes.models.backbones.vit_feature_extractor import ViTFeatureExtractor

__all__ = ['FrozenViT', 'TimmViT', 'ViTAdapter', 'ViTFeatureExtractor']
__getattr__ = renamed(
    __name__,
    PRESETS='sohes.weights.PRESETS',
    Preset='sohes.weights.Preset',
    ViTWeights='sohes.weights.ViTWeights',
    ZOO='sohes.weights.ZOO',
    load_vit_weights='sohes.weights.load_vit_weights',
    # In demo/ of a checkout.
    resolve_demo_weights='demo_weights.resolve_demo_weights',
    weights_dir='sohes.weights.weights_dir')
