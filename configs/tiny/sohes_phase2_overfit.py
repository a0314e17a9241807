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

max_iters = 900

train_pipeline = [
    *_base_.train_pipeline[:2],  # loads the image and its labels
    _base_.test_pipeline[1],  # resizes
    _base_.train_pipeline[-1]  # packs
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

# What was learnt by heart is what is asked for.
val_dataloader = dict(
    _base_.test_dataloader,
    num_workers=1,
    dataset=dict(
        _base_.test_dataloader.dataset,
        ann_file='labels.json',
        data_prefix=dict(img='images/')))
val_evaluator = [
    dict(metric, ann_file=_base_.data_root + 'labels.json')
    for metric in _base_.test_evaluator
]
val_cfg = dict(type='ValLoop')
test_dataloader = val_dataloader
test_evaluator = val_evaluator
train_cfg = dict(max_iters=max_iters, val_interval=100)
param_scheduler = dict(end=max_iters, milestones=[750])
