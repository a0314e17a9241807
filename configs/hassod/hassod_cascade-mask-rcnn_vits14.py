"""HASSOD's detector on a ViT-S/14, to compare with SOHES's on the same.

    tools/dist_train.sh configs/hassod/hassod_cascade-mask-rcnn_vits14.py 4 \
        --cfg-options data_root=DIR/ model.backbone.weights=WEIGHTS

hassod_cascade-mask-rcnn_r50.py with the backbone of configs/sohes_phase2.py
in place of the ResNet; its labels are those of hassod_phase1_vits14.py.

Hardware: 4 GPUs. Memory, hours: not measured. Result: not measured.
"""
_base_ = 'hassod_cascade-mask-rcnn_r50.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='sohes.ViTAdapter',
        weights='dinov2_vits14',
        num_interactions=4,
        extra_extractors=2,
        drop_path_rate=0.2,
        norm_cfg=dict(type='LN2d'),
        with_cp=True),
    neck=dict(in_channels=[384, 384, 384, 384]))
