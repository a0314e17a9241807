"""Phase 1 for small photos, a ViT-S/14 and a CPU.

What `make demo` runs and docs/pseudo_labels.md measures:

    python tools/generate_pseudo_labels.py configs/sohes_phase1_cpu.py \
        --weights WEIGHTS --img-dir PHOTOS --out labels.json

Hardware: 2 CPU cores, 4 GB. Differs from sohes_phase1.py where a photo of
half a megapixel and a patch of 14 pixels ask for it: small means COCO's 32^2
pixels of the photo, crops are resized to 448 so that a patch covers about
four pixels of it, and DenseCRF refines, which needs no weights.
"""
_base_ = 'sohes_phase1.py'

extractor = dict(weights='dinov2_vits14', dtype='bf16')

pseudo_labels = dict(
    image_size=742,  # 53 x 53 patches of 14
    local=dict(
        max_area=32**2,  # pixels of the photo
        image_size=448,  # 32 x 32 patches of 14
        min_crop=128,
        max_crops=12),  # those that hold most small regions
    refiner=dict(
        _delete_=True,
        type='densecrf',
        smooth=(1, 0.33),
        appearance=(4, 1.7, 6)))
