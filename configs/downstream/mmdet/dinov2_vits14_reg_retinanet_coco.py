"""COCO with RetinaNet, the ViT frozen: DINOv2 S/14, registers.

As dino_vitb8_retinanet_coco.py but for the ViT: not in the paper.

    mim train mmdet configs/downstream/mmdet/\
dinov2_vits14_reg_retinanet_coco.py --launcher pytorch --gpus 8

Fine-tuned by Phase 2 or 3 on it: --cfg-options model.backbone.weights=, the
file of tools/model_converters/extract_backbone.py.

Hardware: 8 GPUs, 2 images each; memory and hours are not measured. Result: not
measured.
"""
_base_ = 'dino_vitb8_retinanet_coco.py'

model = dict(
    backbone=dict(weights='dinov2_vits14_reg'),
    neck=dict(in_channels=[384] * 4))
