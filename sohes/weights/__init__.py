"""Weights of ViTs: which there are, their files, names and presets."""
from sohes.weights.vit_presets import PRESETS, Preset
from sohes.weights.vit_weights import ViTWeights, load_vit_weights
from sohes.weights.vit_zoo import ZOO, weights_dir

__all__ = [
    'PRESETS', 'Preset', 'ViTWeights', 'ZOO', 'load_vit_weights',
    'weights_dir'
]
