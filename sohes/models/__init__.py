"""What the registry builds; importing this registers it all."""
from sohes.models.backbones import ViTFeatureExtractor

__all__ = ['ViTFeatureExtractor']
