"""ADE20K with a linear classifier, the ViT frozen: DINO's ViT-B/8.

Section 4.4 and figure 6 of the paper, first row. With mmsegmentation's own
commands, where `sohes` is installed:

    mim train mmsegmentation configs/downstream/mmseg/\
dino_vitb8_linear_ade20k.py --launcher pytorch --gpus 8

or its tools/train.py. Data: ADEChallengeData2016 as mmsegmentation wants it,
in data/ade/; elsewhere: --cfg-options of the data_root of each dataloader.

The ViT gets no gradient; ViT-Adapter and classifier start anew. The paper
says nothing of the schedule: it is the one that ViT-Adapter's authors have
for ADE20K (Chen et al. 2022). Nothing is inherited from mmsegmentation's
configs: OneDL's mmengine cannot find them by name.

Hardware: 8 GPUs, 2 images each; memory and hours are not measured. The
paper's result: mIoU 35.2; not verified here.
"""
default_scope = 'mmseg'

# ----- frequently changed ---------------------------------------------------
batch_size = 2  # a GPU, of 8
num_workers = 4
data_root = 'data/ade/ADEChallengeData2016'
weights = 'dino_vitb8'  # a name of the zoo, or a file
width = 768  # channels of that ViT

# ----- possibly changed -----------------------------------------------------
num_classes = 150
crop_size = (512, 512)
max_iters = 160000

model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],  # of ImageNet, RGB, as DINO's
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,  # mmcv reads BGR
        pad_val=0,
        seg_pad_val=255,
        size=crop_size),
    backbone=dict(
        type='sohes.ViTAdapter',
        weights=weights,
        frozen_vit=True,  # section 4.4
        with_adapter=False,  # it starts anew in both rows
        norm_cfg=dict(type='SyncBN'),  # on a CPU: LN2d
        with_cp=False),
    # No hidden layer, no dropout: the four maps, resized to the largest and
    # concatenated, and one 1x1 convolution.
    decode_head=dict(
        type='FCNHead',
        in_channels=[width] * 4,
        in_index=[0, 1, 2, 3],
        input_transform='resize_concat',
        channels=4 * width,
        num_convs=0,
        concat_input=False,
        dropout_ratio=0.0,
        num_classes=num_classes,
        align_corners=False,
        loss_decode=dict(
            type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=crop_size, stride=(341, 341)))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(
        type='RandomResize',
        scale=(2048, 512),
        ratio_range=(0.5, 2.0),
        keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 512), keep_ratio=True),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='PackSegInputs')
]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ADE20KDataset',
        data_root=data_root,
        data_prefix=dict(
            img_path='images/training', seg_map_path='annotations/training'),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=num_workers,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ADE20KDataset',
        data_root=data_root,
        data_prefix=dict(
            img_path='images/validation',
            seg_map_path='annotations/validation'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    # So frozen parameters do not even reach the optimizer.
    paramwise_cfg=dict(
        custom_keys={'level_embed': dict(decay_mult=0.0)},
        norm_decay_mult=0.0))
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0,
        end=1500),
    dict(
        type='PolyLR',
        eta_min=0.0,
        power=1.0,
        by_epoch=False,
        begin=1500,
        end=max_iters)
]
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=max_iters, val_interval=16000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=16)

# ----- never changed --------------------------------------------------------
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook', by_epoch=False, interval=16000,
        max_keep_ckpts=1),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'))
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
randomness = dict(seed=0)
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(
    type='SegLocalVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False
