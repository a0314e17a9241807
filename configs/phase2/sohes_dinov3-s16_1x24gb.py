"""Phase 2 on DINOv3's ViT-S/16, one GPU of 24 GB, a few thousand images.

    python tools/train.py configs/phase2/sohes_dinov3-s16_1x24gb.py \
        --cfg-options data_root=DIR/

As sohes_phase2_few_images.py, with a backbone of 2025. DINOv3's weights are
behind a licence form: the first start says which file to fetch and where to
put it. Its register tokens stay in the ViT's path.

Hardware: 1 GPU of 24 GB; not run on a GPU. Memory and hours: not measured.
Result: not measured; the paper has no figure for it.
"""
_base_ = 'sohes_phase2_few_images.py'

# ----- frequently changed ---------------------------------------------------
model = dict(backbone=dict(weights='dinov3_vits16'))
