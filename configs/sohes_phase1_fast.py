"""Phase 1 with little work for the ViT: what `make demo` runs.

    python tools/generate_pseudo_labels.py configs/sohes_phase1_fast.py \
        --weights WEIGHTS --img-dir PHOTOS --out labels.json

Hardware: 2 CPU cores, 4 GB. Differs from sohes_phase1_cpu.py in the ViT's
share, which is most of the time: it sees the photo once at 448 pixels and
once in windows, three along the longer side, that are clustered as one grid.
Result: see docs/pseudo_labels.md.
"""
_base_ = 'sohes_phase1_cpu.py'

pseudo_labels = dict(
    image_size=448,  # 32 x 32 patches of 14
    local=dict(
        windows=3,  # along the longer side
        image_size=336,  # 24 x 24 patches of 14
        thresholds=None),  # all: some of these regions are large
    refiner=dict(neighbours=96))
