"""Backbones, heads and detectors; types are registered on import."""
from sohes.models import backbones  # noqa: F401
