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

batch_augments = [
    dict(
        type='BatchFixedSizePad',
        size=image_size,
        img_pad_value=0,
        pad_mask=False,  # the head takes smaller masks
        pad_seg=False)
]
model = dict(
    data_preprocessor=dict(
        data_preprocessor=dict(batch_augments=batch_augments)),
    detector=dict(
        data_preprocessor=dict(batch_augments=batch_augments),
        backbone=dict(weights='dino_vitb16')))

geometry = [
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
        allow_negative_crop=True)
]
canvas = dict(_base_.copy_paste[0], size=image_size)
sup_pipeline = [
    dict(type='sohes.LoadEntityImage'),
    dict(type='sohes.LoadEntities'), *geometry, canvas,
    _base_.copy_paste[1], *_base_.colors, *_base_.pack
]
weak_pipeline = [
    dict(type='sohes.EntityResize', scale=image_size, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5), *_base_.pack
]
unsup_pipeline = [
    dict(type='sohes.LoadEntityImage'),
    dict(
        type='sohes.OrderedMultiBranch',
        branch_field=['unsup_teacher', 'unsup_student'],
        unsup_teacher=weak_pipeline,
        unsup_student=[*geometry, *_base_.colors, *_base_.pack])
]
test_pipeline = [
    _base_.test_pipeline[0], weak_pipeline[0], _base_.test_pipeline[2]
]
train_dataloader = dict(
    dataset=dict(
        labeled=dict(pipeline=sup_pipeline),
        unlabeled=dict(pipeline=unsup_pipeline)))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(
    accumulative_counts=accumulative_counts, optimizer=dict(lr=base_lr))
auto_scale_lr = dict(base_batch_size=2)
# A quarter of the paper's updates, so a shorter average: the teacher ends as
# far from its start.
custom_hooks = [
    dict(type='sohes.TeacherHook', momentum=0.002),
    dict(type='sohes.RandomStateHook'),
    dict(type='sohes.NonFiniteLossHook')
]
