"""Phase 3 after configs/phase2/sohes_phase2_1x24gb.py, on one GPU of 24 GB.

    python tools/train.py configs/phase3/sohes_phase3_1x24gb.py \
        --cfg-options load_from=PHASE2.pth data_root=DIR/

The model is Phase 2's: ViT-B/16 at 640 pixels. Gradients of 8 steps of 2
images of I1 and 2 of I2 are added up.

Hardware: 1 GPU of 24 GB. Memory and hours: not measured. If it does not fit:
--cfg-options train_dataloader.batch_size=1 optim_wrapper.accumulative_counts=
16 train_cfg.max_iters=20000 default_hooks.checkpoint.interval=2000.
Result: not measured; the paper has no figure for it.
"""
_base_ = '../sohes_phase3.py'

# ----- frequently changed ---------------------------------------------------
max_iters = 10000  # 1 250 updates of the weights; ours
base_lr = 0.00001  # a tenth of Phase 2's
image_size = (640, 640)
accumulative_counts = 8

model = dict(detector=dict(backbone=dict(weights='dino_vitb16')))
_base_.model.detector.data_preprocessor.batch_augments[0].size = image_size
_base_.model.data_preprocessor.data_preprocessor.batch_augments[
    0].size = image_size

train_pipeline = _base_.train_pipeline
train_pipeline[3].scale = image_size  # large scale jittering
train_pipeline[4].crop_size = image_size
train_pipeline[5].size = image_size  # the canvas
unsup_pipeline = _base_.unsup_pipeline
unsup_pipeline[1].unsup_teacher[0].scale = image_size
unsup_pipeline[1].unsup_student[1].scale = image_size
unsup_pipeline[1].unsup_student[2].crop_size = image_size
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = image_size
train_dataloader = dict(
    dataset=dict(
        labeled=dict(pipeline=train_pipeline),
        unlabeled=dict(pipeline=unsup_pipeline)))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(
    accumulative_counts=accumulative_counts, optimizer=dict(lr=base_lr))
auto_scale_lr = dict(base_batch_size=2)
# A quarter of the paper's updates, so a shorter average: the teacher ends as
# far from its start.
custom_hooks = [dict(type='sohes.TeacherHook', momentum=0.002)]
