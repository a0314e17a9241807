"""HASSOD's pseudo-labels with a ViT-S/14 in DINOv2's layout.

    python tools/generate_pseudo_labels.py \
        configs/hassod/hassod_phase1_vits14.py --weights WEIGHTS \
        --img-dir PHOTOS --out labels.json

Differs from hassod_phase1.py in the weights and in what belongs to them: the
features are those of the weights' preset, and the thresholds are what

    python tools/analysis_tools/calibrate_thresholds.py \
        configs/hassod/hassod_phase1_vits14.py --weights WEIGHTS \
        --img-dir BSDS500_TRAIN --num-photos 16 --count 3 --budget 100

prints. Hardware: 2 CPU cores, 4 GB. Result: the table of docs/hassod.md.
"""
_base_ = 'hassod_phase1.py'

extractor = dict(weights='dinov2_vits14', dtype='auto')

shard_size = 1  # a kill loses only the photos under way

pseudo_labels = dict(
    thresholds=(0.55, 0.15, -0.2))
