"""Phase 2 at the smallest size that still learns: ViT-S/14, two CPU cores.

    python tools/train.py configs/tiny/sohes_phase2_tiny.py --cfg-options \
        data_root=DIR/ model.backbone.weights=WEIGHTS

or data-parallel, each process on a core:

    tools/dist_train.sh configs/tiny/sohes_phase2_tiny.py 2

The same types as configs/sohes_phase2.py, for trying things out, tests, and
those without a GPU. Images of 224 pixels, which half the time of a step at
320, jittered by 0.5 to 2.0, 50 queries, 3 decoder layers, no mixed precision,
LN in place of SyncBN, which trains on GPUs alone. Its labels are those of
sohes_phase1_tiny.py.

Hardware: 2 CPU cores. Memory, time and result: not measured.
"""
_base_ = ['../sohes_phase2.py', '../_base_/models/tiny.py']

# ----- frequently changed ---------------------------------------------------
batch_size = 2  # a process
num_workers = 1
max_iters = 1000
base_lr = 0.001  # ours
image_size = (224, 224)

model = _base_.tiny_model

train_pipeline = _base_.train_pipeline
train_pipeline[3].update(scale=image_size, ratio_range=(0.5, 2.0))
train_pipeline[4].crop_size = image_size
train_pipeline[5].size = image_size  # the canvas
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = image_size
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    dataset=dict(pipeline=train_pipeline))
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
param_scheduler = dict(end=max_iters, milestones=[900])
default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(interval=250))
