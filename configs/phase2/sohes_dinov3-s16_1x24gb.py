"""Phase 2 on DINOv3's ViT-S/16, one GPU of 24 GB, a few thousand images.

    python tools/train.py configs/phase2/sohes_dinov3-s16_1x24gb.py \
        --cfg-options data_root=DIR/

As sohes_phase2_few_images.py, with a backbone of 2025. DINOv3's weights are
behind a licence form: the first start says which file to fetch and where to
put it. Its register tokens stay in the ViT's path.

Hardware: 1 GPU of 24 GB; not run on a GPU. Memory and hours: not measured.
Result: not measured; the paper has no figure for it.
"""
_base_ = 'sohes_phase2_1x24gb.py'

# ----- frequently changed ---------------------------------------------------
max_iters = 20000  # 2 500 updates of the weights; ours

model = dict(
    backbone=dict(weights='dinov3_vits16', drop_path_rate=0.1),
    panoptic_head=dict(in_channels=[384, 384, 384, 384]))

train_cfg = dict(max_iters=max_iters)
param_scheduler = dict(end=max_iters, milestones=[18000])
default_hooks = dict(checkpoint=dict(interval=2000))
