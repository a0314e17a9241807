"""Table 8: Cascade Mask R-CNN on the pseudo-labels, without the hierarchy.

    tools/dist_train.sh configs/ablations/sohes_cascade-mask-rcnn.py 8 \
        --cfg-options data_root=DIR/

The segmentation head that CutLER and HASSOD use, on the same json, images,
augmentation, backbone and schedule as configs/sohes_phase2.py; mmdetection's
own model, made class-agnostic. Its masks have no parents.

Hardware: as configs/sohes_phase2.py. The paper's result: AR of 27.0 on LVIS,
29.2 on EntitySeg, 31.9 on SA-1B (after Phase 3); not measured here.
"""
_base_ = [
    'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py',
    '../_base_/datasets/entities.py', '../_base_/schedules/adan.py',
    '../_base_/default_runtime.py'
]

# ----- frequently changed ---------------------------------------------------
max_iters = 40000
image_size = (1024, 1024)

# ----- possibly changed -----------------------------------------------------
bbox_heads = [
    dict(
        type='Shared2FCBBoxHead',
        in_channels=256,
        fc_out_channels=1024,
        roi_feat_size=7,
        num_classes=1,  # entity
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder',
            target_means=[0., 0., 0., 0.],
            target_stds=stds),
        reg_class_agnostic=True,
        loss_cls=dict(
            type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
        loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0))
    for stds in ([0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1],
                 [0.033, 0.033, 0.067, 0.067])
]
model = dict(
    data_preprocessor=dict(
        bgr_to_rgb=False,  # sohes.LoadEntityImage reads RGB
        batch_augments=[
            dict(
                type='BatchFixedSizePad',
                size=image_size,
                img_pad_value=0,
                pad_mask=False,  # the pipeline has padded them
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
    neck=dict(in_channels=[768, 768, 768, 768]),
    roi_head=dict(
        bbox_head=bbox_heads, mask_head=dict(num_classes=1)),
    # A view that was jittered may be smaller than any anchor.
    train_cfg=dict(rpn=dict(allowed_border=-1)),
    test_cfg=dict(
        rpn=dict(nms_pre=2000, max_per_img=2000),
        # AR counts 1000 masks an image (section 4), however unsure.
        rcnn=dict(score_thr=0.0, max_per_img=1000)))

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
    dict(type='sohes.PackEntityInputs', bitmaps=True)
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
test_evaluator = [
    dict(
        type='sohes.EntityMetric',
        ann_file=_base_.data_root + 'val.json')
]

# Mask2Former's bound of 0.01 is for its own losses.
optim_wrapper = dict(clip_grad=dict(max_norm=1.0))
auto_scale_lr = dict(enable=False, base_batch_size=128)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters)
test_cfg = dict(type='TestLoop')
param_scheduler = dict(
    type='MultiStepLR',
    by_epoch=False,
    begin=0,
    end=max_iters,
    milestones=[36000],
    gamma=0.1)
