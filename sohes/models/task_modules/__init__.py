"""Matching queries with ground truth."""
from sohes.models.task_modules.seeded_random import seeded_random

__all__ = ['seeded_random']
