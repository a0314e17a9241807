"""Matching queries with ground truth."""
