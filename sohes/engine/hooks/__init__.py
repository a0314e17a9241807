"""Hooks of training."""
from sohes.engine.hooks.non_finite_loss_hook import (
    NonFiniteLossError,
    NonFiniteLossHook,
)
from sohes.engine.hooks.random_state_hook import RandomStateHook

__all__ = ['NonFiniteLossError', 'NonFiniteLossHook', 'RandomStateHook']
