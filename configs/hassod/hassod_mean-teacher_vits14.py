"""HASSOD's second stage on a ViT-S/14.

    tools/dist_train.sh configs/hassod/hassod_mean-teacher_vits14.py 4 \
        --cfg-options load_from=DETECTOR.pth data_root=DIR/ \
        model.detector.backbone.weights=WEIGHTS

hassod_mean-teacher.py after hassod_cascade-mask-rcnn_vits14.py, of which
DETECTOR.pth is the last checkpoint.

Hardware: 4 GPUs. Memory, hours: not measured. Result: not measured.
"""
_base_ = 'hassod_mean-teacher.py'

model = dict(
    detector=dict(
        backbone=dict(
            _delete_=True,
            type='sohes.ViTAdapter',
            weights='dinov2_vits14',
            num_interactions=4,
            extra_extractors=2,
            drop_path_rate=0.2,
            norm_cfg=dict(type='LN2d'),
            with_cp=True),
        neck=dict(in_channels=[384, 384, 384, 384])))
