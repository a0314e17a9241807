"""Phase 3 after configs/tiny/sohes_phase2_tiny.py, on two CPU cores.

    python tools/train.py configs/tiny/sohes_phase3_tiny.py --cfg-options \
        load_from=PHASE2.pth data_root=DIR/ model.detector.backbone.weights=\
WEIGHTS

or tools/dist_train.sh configs/tiny/sohes_phase3_tiny.py 2 with the same
options. WEIGHTS are those of Phase 2; they give the ViT's shape, and
PHASE2.pth its values. The model is Phase 2's, the types are those of
configs/sohes_phase3.py.

Hardware: 2 CPU cores. Memory, time and result: not measured.
"""
_base_ = ['../sohes_phase3.py', '../_base_/models/tiny.py']

# ----- frequently changed ---------------------------------------------------
batch_size = 2  # a process, of I1 and of I2
num_workers = 1
max_iters = 250
base_lr = 0.0001  # a tenth of Phase 2's
image_size = (224, 224)

model = dict(
    data_preprocessor=dict(
        data_preprocessor=_base_.tiny_model.data_preprocessor),
    detector=_base_.tiny_model)

jitter = dict(scale=image_size, ratio_range=(0.5, 2.0))
train_pipeline = _base_.train_pipeline
train_pipeline[3].update(jitter)
train_pipeline[4].crop_size = image_size
train_pipeline[5].size = image_size  # the canvas
unsup_pipeline = _base_.unsup_pipeline
unsup_pipeline[1].unsup_teacher[0].scale = image_size
unsup_pipeline[1].unsup_student[1].update(jitter)
unsup_pipeline[1].unsup_student[2].crop_size = image_size
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = image_size
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    dataset=dict(
        labeled=dict(pipeline=train_pipeline),
        unlabeled=dict(pipeline=unsup_pipeline)))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
auto_scale_lr = dict(base_batch_size=2)

# ----- possibly changed -----------------------------------------------------
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(_base_.optim_wrapper.optimizer, lr=base_lr),
    paramwise_cfg=_base_.optim_wrapper.paramwise_cfg,
    clip_grad=dict(max_norm=1.0, norm_type=2))
# A twentieth of the paper's 5 000 steps: the average must be shorter too.
custom_hooks = [dict(type='sohes.TeacherHook', momentum=0.01)]
default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(interval=50))
