"""COCO with RetinaNet, the ViT frozen: DINOv3's ViT-L/16.

As dino_vitb8_retinanet_coco.py but for the ViT: not in the paper.

    mim train mmdet configs/downstream/mmdet/\
dinov3_vitl16_retinanet_coco.py --launcher pytorch --gpus 8

DINOv3's weights are behind a licence form: the first start says which file to
fetch and where to put it.

Fine-tuned by Phase 2 or 3 on it: --cfg-options model.backbone.weights=, the
file of tools/model_converters/extract_backbone.py.

Hardware: 8 GPUs, 2 images each; memory and hours are not measured. Result: not
measured.
"""
_base_ = 'dino_vitb8_retinanet_coco.py'

model = dict(
    backbone=dict(weights='dinov3_vitl16'),
    neck=dict(in_channels=[1024] * 4))
