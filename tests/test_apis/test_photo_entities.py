"""What the web demo calls to find entities in one photo."""
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sohes.apis.photo_entities import phase1_finder
from sohes.structures import EntityForest
from sohes.utils.errors import UsageError
from tests.test_tools.tiny_vit import save_tiny_vit


def config(weights: object) -> dict:
    return dict(
        extractor=dict(weights=str(weights), num_heads=4, feature='key',
                       block=-1, center=True, device='cpu'),
        pseudo_labels=dict(image_size=256, thresholds=(.6, .3, 0., -.3),
                           local=None, refiner=None))


def test_phase1_without_files(tmp_path, rng):
    find = phase1_finder(config(save_tiny_vit(tmp_path / 'vit.pth')), None)
    image = np.full((60, 90, 3), 40, np.uint8)
    image[10:50, 10:60] = (200, 60, 90)
    image[20:40, 20:40] = rng.integers(0, 255, 3)
    found = find(image)
    masks = coco_mask.decode(found.rles)
    assert masks.shape == (60, 90, len(found.scores)) and len(found.scores)
    assert found.forest == EntityForest.from_masks(found.rles)
    assert (np.diff(found.scores) <= 0).all()


def test_a_mistake_is_one_sentence(tmp_path):
    with pytest.raises(UsageError, match=r'none\.pth'):
        phase1_finder(config('vit.pth'), str(tmp_path / 'none.pth'))
    with pytest.raises(UsageError, match="unknown key 'other'"):
        phase1_finder(dict(config('vit.pth'), other=1), None)
