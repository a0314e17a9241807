"""Can Phase 2 learn at all? A few photos by heart, on two CPU cores.

    python tools/analysis_tools/filter_labels.py LABELS \
        --out DIR/labels.json --num-photos 8 --largest 40
    python tools/train.py configs/tiny/sohes_phase2_overfit.py --cfg-options \
        data_root=DIR/ model.backbone.weights=WEIGHTS

with the photos in DIR/images. It is evaluated on what it was trained on,
without augmentation: a model that cannot remember eight photos is broken.

Hardware: 2 CPU cores, under 25 minutes. Result: the curve in
docs/training.md.
"""
_base_ = 'sohes_phase2_tiny.py'

data_root = 'data/entities/'
max_iters = 900

pipeline = [
    dict(type='sohes.LoadEntityImage'),
    dict(type='sohes.LoadEntities'),
    dict(
        type='sohes.EntityResize', scale=_base_.image_size, keep_ratio=True),
    dict(type='sohes.PackEntityInputs')
]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
test_pipeline = [pipeline[0], pipeline[2], _base_.test_pipeline[2]]

# What was learnt by heart is what is asked for.
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='sohes.EntityDataset',
        data_root=data_root,
        ann_file='labels.json',
        data_prefix=dict(img='images/'),
        test_mode=True,
        pipeline=test_pipeline))
val_evaluator = [
    dict(type='sohes.EntityMetric', ann_file=data_root + 'labels.json'),
    dict(type='sohes.ForestMetric', ann_file=data_root + 'labels.json')
]
val_cfg = dict(type='ValLoop')
test_dataloader = val_dataloader
test_evaluator = val_evaluator
train_cfg = dict(max_iters=max_iters, val_interval=100)
param_scheduler = dict(end=max_iters, milestones=[750])
