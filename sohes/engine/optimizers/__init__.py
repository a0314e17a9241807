"""Optimisers and how learning rates are dealt out."""
from sohes.engine.optimizers.adan import build_adan
from sohes.engine.optimizers.layer_decay import (
    LayerDecayOptimWrapperConstructor,
)

__all__ = ['LayerDecayOptimWrapperConstructor', 'build_adan']
