"""Phase 1 for small photos, a ViT-S/14 and a CPU.

Command (sohes_phase1_fast.py takes less time):

    python tools/generate_pseudo_labels.py configs/sohes_phase1_cpu.py \
        --weights WEIGHTS --img-dir PHOTOS --out labels.json

Hardware: 2 CPU cores, 4 GB. Differs from sohes_phase1.py where a photo of a
few hundred pixels and a patch of 14 pixels ask for it: every region under
96^2 pixels (COCO's bound of large) is looked at again, crops are resized to
448 so that a patch covers five pixels of the photo, and `localcrf` refines,
which needs no weights. Result: see docs/pseudo_labels.md.
"""
_base_ = 'sohes_phase1.py'

extractor = dict(weights='dinov2_vits14', dtype='auto')

shard_size = 1  # a kill loses only the photos under way

pseudo_labels = dict(
    image_size=560,  # 40 x 40 patches of 14
    local=dict(
        max_area=96**2,  # pixels of the photo
        image_size=448,  # 32 x 32 patches of 14
        min_crop=160,
        max_crops=20,  # those that hold most of the regions
        # Without the two highest: a crop's patches are small already.
        thresholds=(0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25,
                    0.2, 0.15, 0.1, 0.05, 0.0)),
    # A third more than the default's neighbours: nearer to DenseCRF.
    refiner=dict(_delete_=True, type='localcrf', neighbours=128))
