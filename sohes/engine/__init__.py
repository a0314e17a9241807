"""Hooks and optimisers of Phases 2 and 3."""
from sohes.engine import hooks, optimizers

__all__ = ['hooks', 'optimizers']
