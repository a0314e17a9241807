"""Backbones, heads and segmenters.

Nothing is imported here: the backbones must be importable without mmdet.
"""
