"""COCO with RetinaNet, the ViT frozen: the ViT-B/8 of SOHES.

Section 4.4 and figure 6 of the paper, second row: as
dino_vitb8_retinanet_coco.py but for the weights.

    python tools/model_converters/extract_backbone.py CKPT backbone.pth
    mim train mmdet configs/downstream/mmdet/sohes_vitb8_retinanet_coco.py \
        --launcher pytorch --gpus 8 \
        --cfg-options model.backbone.weights=backbone-HASH.pth

Hardware: as that one. The paper's result: AP 24.4; not verified here.
"""
_base_ = 'dino_vitb8_retinanet_coco.py'

model = dict(backbone=dict(weights='data/sohes_vitb8_backbone.pth'))
