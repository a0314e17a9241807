"""Cascade Mask R-CNN on a ViT-Adapter on DINO's ViT-B/8, class-agnostic.

mmdetection's own model, for table 8. The backbone is that of
entity_mask2former_vitb8.py; masks have no parents.
"""
_base_ = 'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py'

model = dict(
    data_preprocessor=dict(
        bgr_to_rgb=False,  # sohes.LoadEntityImage reads RGB
        batch_augments=[
            dict(
                type='BatchFixedSizePad',
                size=(1024, 1024),
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
        bbox_head=[
            dict(head, num_classes=1)  # entity
            for head in _base_.model.roi_head.bbox_head
        ],
        mask_head=dict(num_classes=1)),
    # A view that was jittered may be smaller than any anchor.
    train_cfg=dict(rpn=dict(allowed_border=-1)),
    test_cfg=dict(
        rpn=dict(nms_pre=2000, max_per_img=2000),
        # AR counts 1000 masks an image (section 4), however unsure.
        rcnn=dict(score_thr=0.0, max_per_img=1000)))
