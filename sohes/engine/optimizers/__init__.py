"""Optimisers and how learning rates are dealt out."""
