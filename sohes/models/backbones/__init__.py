"""Vision Transformers and their features; nothing here needs mmdet."""
from sohes.models.backbones.vit_feature_extractor import ViTFeatureExtractor

__all__ = ['ViTFeatureExtractor']
