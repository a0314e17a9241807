"""HASSOD's detector: Cascade Mask R-CNN with levels, on its own labels.

HASSOD's first training stage. Command, on one machine:

    tools/dist_train.sh configs/hassod/hassod_cascade-mask-rcnn_r50.py 4 \
        --cfg-options data_root=DIR/

Data: DIR/labels.json of hassod_phase1.py (any json with ``parent_id`` does),
the photos in DIR/images/; to evaluate DIR/val.json and DIR/val/. The ResNet
starts from DINO's weights, which mmengine downloads; without a network:
--cfg-options model.backbone.init_cfg=None. For 4 GPUs of 4 images; fewer:
--auto-scale-lr. A shorter run ends with precise BN when it is told so:
train_cfg.max_iters=N custom_hooks.0.interval=N.

Two mistakes of the released code are left out; to have them back:
model.roi_head.bbox_head.{0,1,2}.nms_by_level=False (nested parts of nearly
the same box are suppressed). One is kept, because the code's figures come
from it: the level head is trained by sigmoids and read by softmax;
level_activation='sigmoid' reads what was trained.

Hardware: 4 GPUs. Memory, hours: not measured. Result to expect: mask
AR@1000 of 20.2 on LVIS, 17.0 on SA-1B (HASSOD's paper, before the mean
teacher); not measured here.
"""
_base_ = [
    'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py',
    '../_base_/datasets/entities.py', '../_base_/default_runtime.py'
]

# ----- frequently changed ---------------------------------------------------
max_iters = 40000
batch_size = 4  # a GPU; 16 in all
base_lr = 0.01

# ----- possibly changed -----------------------------------------------------
sync_bn = 'torch'  # in backbone and FPN, where there are several processes
model = dict(
    data_preprocessor=dict(bgr_to_rgb=False),  # LoadEntityImage reads RGB
    backbone=dict(
        frozen_stages=-1,
        norm_eval=False,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/dino/'
            'dino_resnet50_pretrain/dino_resnet50_pretrain.pth')),
    neck=dict(norm_cfg=dict(type='BN')),
    roi_head=dict(
        type='sohes.LevelCascadeRoIHead',
        bbox_head=[
            dict(
                head,
                type='sohes.LevelBBoxHead',
                num_classes=1,  # entity
                droploss_iou=0.01,
                level_activation='softmax',
                nms_by_level=True,  # ours; HASSOD: False
                loss_level=dict(
                    type='FocalLoss',
                    use_sigmoid=True,
                    gamma=2.0,
                    alpha=0.25,
                    loss_weight=1.0))
            for head in _base_.model.roi_head.bbox_head
        ],
        mask_head=dict(num_classes=1)),
    train_cfg=dict(
        rpn_proposal=dict(
            nms_pre=4000, max_per_img=4000, nms=dict(iou_threshold=0.65)),
        rcnn=[
            dict(
                stage,
                sampler=dict(
                    stage.sampler,
                    type='sohes.EntitySampler',
                    pos_fraction=0.5))
            for stage in _base_.model.train_cfg.rcnn
        ]),
    test_cfg=dict(
        rpn=dict(nms_pre=2000, max_per_img=2000),
        rcnn=dict(
            score_thr=0.0,
            nms=dict(type='nms', iou_threshold=0.5),
            max_per_img=1000,
            coverage=0.9)))  # of a part by its parent; None: no parents

train_pipeline = [
    dict(type='sohes.LoadEntityImage'),
    dict(type='sohes.LoadEntities'),
    dict(  # short side from 240 to 1024, long side up to 1333
        type='RandomResize',
        scale=[(1333, 240), (1333, 1024)],
        resize_type='sohes.EntityResize',
        keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='sohes.HassodCopyPaste', scale=(0.3, 1.0), max_covered=0.5),
    dict(type='sohes.PackEntityInputs', bitmaps=True)
]
train_dataloader = dict(
    batch_size=batch_size, dataset=dict(pipeline=train_pipeline))
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = (1333, 800)
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

optim_wrapper = dict(
    type='AmpOptimWrapper',  # bf16; HASSOD: fp16
    dtype='bfloat16',
    loss_scale=1.0,
    optimizer=dict(
        type='sohes.ClippedSGD',  # at norm 1, each parameter
        lr=base_lr,
        momentum=0.9,
        weight_decay=5e-5,
        max_norm=1.0))
auto_scale_lr = dict(enable=False, base_batch_size=16)
# The step of HASSOD's schedule, at 80 000, is never reached.
param_scheduler = dict(
    type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000)
train_cfg = dict(max_iters=max_iters)

# ----- never changed --------------------------------------------------------
custom_hooks = [
    dict(  # means and variances of 200 batches, at the end
        type='mmpretrain.PreciseBNHook',
        num_samples=200 * 16,
        interval=max_iters)
]
