"""Datasets and their transforms; importing this registers them all."""
from sohes.datasets.transforms import ClusterPseudoLabels

__all__ = ['ClusterPseudoLabels']
