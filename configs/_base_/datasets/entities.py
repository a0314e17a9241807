"""Images and pseudo-labels of Phase 1, augmented as the paper has it.

    data/entities/labels.json     from tools/generate_pseudo_labels.py
    data/entities/images/         the photos, file names as in the json
    data/entities/val.json, val/  to evaluate on; any COCO json

Elsewhere: --cfg-options data_root=DIR/ moves all of them.
"""
data_root = 'data/entities/'
image_size = (1024, 1024)

train_pipeline = [
    dict(type='sohes.LoadEntityImage'),
    dict(type='sohes.LoadEntities'),
    dict(type='RandomFlip', prob=0.5),
    dict(  # large scale jittering
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
    dict(  # Ghiasi et al. 2021
        type='sohes.EntityCopyPaste',
        # Ours: pseudo-labels fill the frame, so what is pasted would hide
        # the first image's labels nearly whole in a quarter of the draws.
        max_covered=0.5),
    dict(type='sohes.PackEntityInputs')
]
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='sohes.ResumableSampler'),
    dataset=dict(
        type='sohes.EntityDataset',
        data_root=data_root,
        ann_file='labels.json',
        data_prefix=dict(img='images/'),
        filter_cfg=dict(min_masks=1),
        pipeline=train_pipeline))

test_pipeline = [
    dict(type='sohes.LoadEntityImage'),
    dict(type='sohes.EntityResize', scale=image_size, keep_ratio=True),
    dict(
        type='sohes.PackEntityInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                   'scale_factor'))
]
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='sohes.EntityDataset',
        data_root=data_root,
        ann_file='val.json',
        data_prefix=dict(img='val/'),
        test_mode=True,
        pipeline=test_pipeline))
test_evaluator = [
    dict(type='sohes.EntityMetric', ann_file=data_root + 'val.json'),
    dict(type='sohes.ForestMetric', ann_file=data_root + 'val.json')
]
