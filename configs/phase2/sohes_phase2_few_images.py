"""Phase 2 on a few thousand images and one GPU: ViT-S/16 at 640 pixels.

    python tools/train.py configs/phase2/sohes_phase2_few_images.py

A smaller ViT and a quarter of the steps of sohes_phase2_1x24gb.py: 20 000
steps of 2 images are 13 passes over 3 000 images. More overfits the labels'
errors sooner than it learns.

Hardware: 1 GPU of 12 GB or more. Memory and hours: not measured. Result: not
measured; the paper has no figure for it.
"""
_base_ = 'sohes_phase2_1x24gb.py'

# ----- frequently changed ---------------------------------------------------
max_iters = 20000  # 2 500 updates of the weights; ours

model = dict(
    backbone=dict(weights='dino_vits16', drop_path_rate=0.1),
    panoptic_head=dict(in_channels=[384, 384, 384, 384]))

train_cfg = dict(max_iters=max_iters)
param_scheduler = dict(end=max_iters, milestones=[18000])
default_hooks = dict(checkpoint=dict(interval=2000))
