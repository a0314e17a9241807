"""Features of a real photo for the tests of Phase 1."""
import numpy as np
import pytest


@pytest.fixture(scope='session')
def real_features(shared_data) -> np.ndarray:
    """(32, 32, 384) float32 keys of a real photo, mean subtracted."""
    from PIL import Image

    from sohes.models.backbones import ViTFeatureExtractor
    weights = shared_data / 'weights' / (
        'dinov2_vits14_imgfocus_fp16.safetensors')
    photo = sorted((shared_data / 'bsds500/images/val').glob('*.jpg'))[0]
    extractor = ViTFeatureExtractor(weights=str(weights), device='cpu')
    image = np.asarray(Image.open(photo).convert('RGB'))
    return extractor([image], size=448)[0]
