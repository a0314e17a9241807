"""Phase 1 as plain functions: arrays in, arrays out; no mm* here."""
from sohes.utils.versions import check_versions

check_versions('torch')

from sohes.pseudo_labels.clustering import PAPER_THRESHOLDS, cluster_features
from sohes.pseudo_labels.merge_tree import MergeTree

__all__ = ['PAPER_THRESHOLDS', 'MergeTree', 'cluster_features']
