"""Phase 1 for configs/tiny/sohes_phase2_tiny.py: few labels, quickly.

    python tools/generate_pseudo_labels.py configs/tiny/sohes_phase1_tiny.py \
        --weights WEIGHTS --img-dir PHOTOS --out labels.json

A model of 50 queries on images of 224 pixels has no use for 199 masks a
photo, most of them small: step 2, the second look at small regions, is left
out, which is three quarters of the time, and the best 60 masks are kept.

Hardware: 2 CPU cores, 4 GB. Result: 60 masks a photo.
"""
_base_ = '../sohes_phase1_cpu.py'

pseudo_labels = dict(
    max_masks=60,
    local=None)
