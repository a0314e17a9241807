"""Phase 2 of SOHES from a checkout of MMDetection.

In its root, with the package `sohes` installed and the data of
projects/sohes/README.md:

    tools/dist_train.sh \
        projects/sohes/configs/sohes_vit-adapter-b8_64xb2-lsj-40k_entities.py 8

What Mask2Former has already comes from MMDetection's own configuration; the
model is that of configs/sohes_phase2.py in the repository of sohes.

Hardware: 64 GPUs, 2 images each; the paper had A100s. Memory and hours: not
measured. Result to expect: AR@1000 of 32.6 on SA-1B (table 3 of the paper,
'Phase 2'); not verified here.
"""
_base_ = [
    '../../../configs/mask2former/'
    'mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'
]
custom_imports = dict(
    imports=['sohes.registry'], allow_failed_imports=False)

# ----- frequently changed ---------------------------------------------------
data_root = 'data/entities/'
batch_size = 2  # a GPU; 128 over 64 GPUs (appendix A)
num_workers = 4
max_iters = 40000  # appendix A
image_size = (1024, 1024)

# ----- the model ------------------------------------------------------------
model = dict(
    type='sohes.EntityMask2Former',
    data_preprocessor=dict(
        _delete_=True,
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],  # of ImageNet, RGB, as DINO's
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=False,  # sohes.LoadEntityImage reads RGB
        pad_size_divisor=32,
        pad_mask=True,
        mask_pad_value=0,
        pad_seg=False,
        batch_augments=[
            dict(
                type='BatchFixedSizePad',
                size=image_size,
                img_pad_value=0,
                pad_mask=False,  # the head takes smaller masks
                pad_seg=False)
        ]),
    backbone=dict(
        _delete_=True,
        type='sohes.ViTAdapter',
        weights='dino_vitb8',
        num_interactions=4,
        extra_extractors=2,
        drop_path_rate=0.2,
        norm_cfg=dict(type='SyncBN'),
        with_cp=True),
    panoptic_head=dict(
        type='sohes.EntityMask2FormerHead',
        in_channels=[768, 768, 768, 768],
        num_things_classes=1,  # 'entity'
        num_stuff_classes=0,
        num_queries=300,
        loss_cls=dict(class_weight=[1.0, 0.1]),
        loss_ancestor=dict(
            type='sohes.AncestorLoss', loss_weight=1.0, diagonal=False)),
    panoptic_fusion_head=dict(_delete_=True, type='sohes.EntityFusionHead'),
    test_cfg=dict(
        _delete_=True,
        max_per_image=1000,
        nms_iou_thr=None,
        ancestor_thr=0.5,
        mask_format='rle'))

# ----- the data -------------------------------------------------------------
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
train_dataloader = dict(
    _delete_=True,
    batch_size=batch_size,
    num_workers=num_workers,
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
    _delete_=True,
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
test_cfg = dict(_delete_=True, type='TestLoop')
val_dataloader = None
val_evaluator = None
val_cfg = None

# ----- the training ---------------------------------------------------------
optim_wrapper = dict(
    _delete_=True,
    type='AmpOptimWrapper',
    dtype='bfloat16',
    loss_scale=1.0,
    optimizer=dict(
        type='sohes.Adan', lr=0.0008, betas=(0.98, 0.92, 0.99),
        weight_decay=0.02),
    paramwise_cfg=dict(
        # Of the keys that match, mmengine takes the longest, and then asks
        # no more for norm_decay_mult: the ViT's norms need their own.
        custom_keys={
            'vit.': dict(lr_mult=0.1),
            '.cls_token': dict(lr_mult=0.1, decay_mult=0.0),
            '.reg_token': dict(lr_mult=0.1, decay_mult=0.0),
            '.pos_embed': dict(lr_mult=0.1, decay_mult=0.0),
            # mmpretrain's names of a block's norms, and timm's.
            '.ln1.': dict(lr_mult=0.1, decay_mult=0.0),
            '.ln2.': dict(lr_mult=0.1, decay_mult=0.0),
            '.norm1.': dict(lr_mult=0.1, decay_mult=0.0),
            '.norm2.': dict(lr_mult=0.1, decay_mult=0.0),
            'query_embed': dict(decay_mult=0.0),
            'query_feat': dict(decay_mult=0.0),
            'level_embed': dict(decay_mult=0.0),
        },
        norm_decay_mult=0.0),
    clip_grad=dict(max_norm=0.01, norm_type=2))
param_scheduler = dict(
    _delete_=True,
    type='MultiStepLR',
    by_epoch=False,
    begin=0,
    end=max_iters,
    milestones=[36000],
    gamma=0.1)
train_cfg = dict(
    _delete_=True, type='IterBasedTrainLoop', max_iters=max_iters)
default_hooks = dict(
    checkpoint=dict(
        _delete_=True, type='CheckpointHook', by_epoch=False, interval=5000,
        max_keep_ckpts=3),
    random_state=dict(type='sohes.RandomStateHook'),
    non_finite_loss=dict(type='sohes.NonFiniteLossHook'))
log_processor = dict(
    _delete_=True,
    type='LogProcessor',
    window_size=50,
    by_epoch=False,
    custom_cfg=[
        dict(
            data_src='masks_without_query',
            method_name='mean',
            window_size=50)
    ])
auto_scale_lr = dict(enable=False, base_batch_size=128)
