"""ADE20K with a linear classifier, the ViT frozen: DINOv3's ViT-S/16.

As dino_vitb8_linear_ade20k.py but for the ViT: not in the paper.

    mim train mmsegmentation configs/downstream/mmseg/\
dinov3_vits16_linear_ade20k.py --launcher pytorch --gpus 8

DINOv3's weights are behind a licence form: the first start says which file to
fetch and where to put it.

Fine-tuned by Phase 2 or 3 on it: --cfg-options model.backbone.weights=, the
file of tools/model_converters/extract_backbone.py.

Hardware: 8 GPUs, 2 images each; memory and hours are not measured. Result: not
measured.
"""
_base_ = 'dino_vitb8_linear_ade20k.py'

model = dict(
    backbone=dict(weights='dinov3_vits16'),
    decode_head=dict(in_channels=[384] * 4, channels=4 * 384))
