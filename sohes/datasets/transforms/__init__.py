"""Transforms for the pipelines of OpenMMLab."""
from sohes.datasets.transforms.clustering import ClusterPseudoLabels

__all__ = ['ClusterPseudoLabels']
