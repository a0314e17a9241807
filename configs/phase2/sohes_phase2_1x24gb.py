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

model = dict(
    data_preprocessor=dict(batch_augments=[
        dict(
            type='BatchFixedSizePad',
            size=image_size,
            img_pad_value=0,
            pad_mask=False,  # the head takes smaller masks
            pad_seg=False)
    ]),
    backbone=dict(weights='dino_vitb16'))

train_pipeline = [
    dict(type='sohes.LoadEntityImage'),
    dict(type='sohes.LoadEntities'),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomResize',
        scale=image_size,
        ratio_range=(0.1, 2.0),
        resize_type='sohes.EntityResize',
        keep_ratio=True),
    dict(
        type='RandomCrop',
        crop_size=image_size,
        crop_type='absolute',
        recompute_bbox=True,
        allow_negative_crop=True),
    dict(  # the canvas on which images are pasted
        type='Pad',
        size=image_size,
        pad_val=dict(img=(124, 116, 104), masks=0)),  # the mean, RGB
    dict(type='sohes.EntityCopyPaste', max_covered=0.5),
    dict(type='sohes.PackEntityInputs')
]
test_pipeline = [
    dict(type='sohes.LoadEntityImage'),
    dict(type='sohes.EntityResize', scale=image_size, keep_ratio=True),
    dict(
        type='sohes.PackEntityInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                   'scale_factor'))
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

train_cfg = dict(max_iters=max_iters)
# Checkpoints after a whole number of updates: 5 000 is one.
optim_wrapper = dict(
    accumulative_counts=accumulative_counts, optimizer=dict(lr=base_lr))
param_scheduler = dict(end=max_iters, milestones=[72000])
auto_scale_lr = dict(base_batch_size=2)
