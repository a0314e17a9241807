"""Phase 2 on one GPU of 24 GB: ViT-B/16 at 640 pixels.

    python tools/train.py configs/phase2/sohes_phase2_1x24gb.py

Patches of 16 pixels and 640 x 640 make 1 600 patches of an image, where the
paper's 8 and 1024 make 16 384. Gradients of 8 steps of 2 images are added up.

Hardware: 1 GPU of 24 GB. Memory and hours: not measured. If it does not fit:
--cfg-options train_dataloader.batch_size=1 optim_wrapper.accumulative_counts=
16 train_cfg.max_iters=160000 param_scheduler.end=160000
param_scheduler.milestones=[144000] default_hooks.checkpoint.interval=8000.
Result: not measured; the paper has no figure for it.
"""
_base_ = '../sohes_phase2.py'

# ----- frequently changed ---------------------------------------------------
max_iters = 80000  # 10 000 updates of the weights; ours
base_lr = 0.0001  # 0.0008 (appendix A) x 16 / 128
image_size = (640, 640)
accumulative_counts = 8

model = dict(backbone=dict(weights='dino_vitb16'))
_base_.model.data_preprocessor.batch_augments[0].size = image_size

train_pipeline = _base_.train_pipeline
train_pipeline[3].scale = image_size  # large scale jittering
train_pipeline[4].crop_size = image_size
train_pipeline[5].size = image_size  # the canvas
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = image_size
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

train_cfg = dict(max_iters=max_iters)
# Checkpoints after a whole number of updates: 5 000 is one.
optim_wrapper = dict(
    accumulative_counts=accumulative_counts, optimizer=dict(lr=base_lr))
param_scheduler = dict(end=max_iters, milestones=[72000])
auto_scale_lr = dict(base_batch_size=2)
