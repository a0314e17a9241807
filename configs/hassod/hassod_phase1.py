"""HASSOD's pseudo-labels: three partitions, refined jointly and pooled.

The values of HASSOD's released code (Cao et al., NeurIPS 2023). Command:

    python tools/generate_pseudo_labels.py configs/hassod/hassod_phase1.py \
        --img-dir PHOTOS --out labels.json

The json is that of configs/sohes_phase1.py, with ``level`` beside
``parent_id``: 0 whole, 1 part, 2 subpart. Two mistakes of the released code
are left out; to have them back, as its figures have:

    --cfg-options pseudo_labels.nms_iou=1.0 pseudo_labels.max_corners=2

Needs pydensecrf2: pip install "sohes[refine]". Hardware: one GPU for the
ViT, one CPU core a worker for the CRF, which is most of the time.
Result: not measured with DINO's weights; docs/hassod.md has other ones.
"""
default_scope = 'sohes'

# ----- frequently changed ---------------------------------------------------
extractor = dict(
    weights='dino_vitb8',  # keys of the last block, CLS dropped
    dtype='fp32',
    device=None)  # None: CUDA if there is one

pseudo_labels = dict(
    type='hassod',
    # ----- possibly changed -------------------------------------------------
    image_size=480,  # 60 x 60 patches of 8
    thresholds=(0.4, 0.2, 0.1),  # of DINO's ViT-B/8
    nms_iou=0.9,  # ours; HASSOD: 1.0, duplicates stay
    max_corners=4,  # ours; HASSOD: 2, backgrounds go
    # ----- never changed ----------------------------------------------------
    refiner=dict(
        type='joint_densecrf',
        iterations=10,
        smooth=(7, 3),  # compatibility, pixels
        appearance=(10, 50, 5)),  # compatibility, pixels, RGB levels
    refine_min_iou=0.5,
    min_area=100,  # pixels of the photo
    fill_holes=True,
    coverage=0.9)

shard_size = 8  # images lost at most by a kill, a worker
workers = None  # processes for the CRF; None: one a core
