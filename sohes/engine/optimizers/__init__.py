"""Optimisers and how learning rates are dealt out."""
from sohes.engine.optimizers.adan import build_adan
from sohes.engine.optimizers.clipped_sgd import ClippedSGD
from sohes.engine.optimizers.layer_decay import (
    LayerDecayOptimWrapperConstructor,
)
from sohes.engine.optimizers.muon import build_muon

__all__ = [
    'ClippedSGD', 'LayerDecayOptimWrapperConstructor', 'build_adan',
    'build_muon'
]
