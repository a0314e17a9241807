"""Datasets and their transforms; importing this registers them all."""
from sohes.datasets.samplers import ResumableSampler
from sohes.datasets.transforms import ClusterPseudoLabels

__all__ = ['ClusterPseudoLabels', 'ResumableSampler']
