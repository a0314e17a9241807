"""ADE20K with a linear classifier, the ViT frozen: the ViT-B/8 of SOHES.

Section 4.4 and figure 6 of the paper, second row: as
dino_vitb8_linear_ade20k.py but for the weights.

    python tools/model_converters/extract_backbone.py CKPT backbone.pth
    mim train mmsegmentation configs/downstream/mmseg/\
sohes_vitb8_linear_ade20k.py --launcher pytorch --gpus 8 \
        --cfg-options model.backbone.weights=backbone-HASH.pth

Hardware: as that one. The paper's result: mIoU 39.6; not verified here.
"""
_base_ = 'dino_vitb8_linear_ade20k.py'

model = dict(backbone=dict(weights='data/sohes_vitb8_backbone.pth'))
