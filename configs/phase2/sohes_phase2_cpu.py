"""Phase 2 for two CPU cores and a night: a frozen ViT-S/14.

    python tools/train.py configs/phase2/sohes_phase2_cpu.py --cfg-options \
        data_root=DIR/ model.backbone.weights=WEIGHTS

The ViT is not trained. Its map of each photo is computed once and kept in
DIR/feature_maps/ (2 MB a photo); delete them with tools/misc/feature_maps.py
DIR/feature_maps --delete. What is trained is a stem, a light pixel decoder
and the entity head.

Hardware: 2 CPU cores; the 6 000 steps take some 6 hours of both without
bfloat16. Result: see docs/cpu_recipe.md.
"""
_base_ = [
    '../sohes_phase2.py', '../_base_/models/cpu.py',
    '../_base_/schedules/muon.py'
]

# ----- frequently changed ---------------------------------------------------
data_root = 'data/entities/'
batch_size = 4
num_workers = 1
max_iters = 6000
base_lr = 0.001  # ours, of Muon
view_size = (448, 448)
test_size = (896, 896)  # seen whole, at 448, and in parts as they are
feature_maps = dict(folder=data_root + 'feature_maps/', max_gb=8.0)

model = _base_.cpu_model

train_pipeline = [
    dict(type='sohes.LoadEntityImage'),
    dict(type='sohes.LoadEntities'),
    dict(type='RandomFlip', prob=0.5),
    dict(  # the whole photo squashed, or a part of it, enlarged
        type='RandomChoice',
        transforms=[
            [dict(type='Resize', scale=view_size, keep_ratio=False)],
            [
                dict(
                    type='RandomResize',
                    scale=view_size,
                    ratio_range=(1.0, 3.0),
                    resize_type='Resize',
                    keep_ratio=False),
                dict(
                    type='RandomCrop',
                    crop_size=view_size,
                    crop_type='absolute',
                    recompute_bbox=True,
                    allow_negative_crop=True)
            ],
        ],
        prob=[0.4, 0.6]),
    dict(
        type='sohes.LoadFeatureMap',
        folder=feature_maps['folder'],
        cells=_base_.cpu_model.backbone.cells),
    # Kept maps are mixed as the photos are.
    dict(type='sohes.EntityCopyPaste', max_covered=0.5),
    dict(type='sohes.PackEntityInputs', min_area=192)
]
test_pipeline = [
    dict(type='sohes.LoadEntityImage'),
    dict(type='Resize', scale=test_size, keep_ratio=False),
    dict(
        type='sohes.PackEntityInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                   'scale_factor'))
]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    dataset=dict(pipeline=train_pipeline))
test_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
auto_scale_lr = dict(base_batch_size=4)

# ----- possibly changed -----------------------------------------------------
train_cfg = dict(max_iters=max_iters)
optim_wrapper = _base_.muon
optim_wrapper.optimizer.lr = base_lr
param_scheduler = _base_.muon_schedule
param_scheduler[1].end = max_iters
default_hooks = dict(
    logger=dict(interval=25), checkpoint=dict(interval=250))
