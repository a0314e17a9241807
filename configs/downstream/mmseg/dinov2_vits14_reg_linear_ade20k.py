"""ADE20K with a linear classifier, the ViT frozen: DINOv2 S/14, registers.

As dino_vitb8_linear_ade20k.py but for the ViT: not in the paper.

    mim train mmsegmentation configs/downstream/mmseg/\
dinov2_vits14_reg_linear_ade20k.py --launcher pytorch --gpus 8

Fine-tuned by Phase 2 or 3 on it: --cfg-options model.backbone.weights=, the
file of tools/model_converters/extract_backbone.py.

Hardware: 8 GPUs, 2 images each; memory and hours are not measured. Result: not
measured.
"""
_base_ = 'dino_vitb8_linear_ade20k.py'

model = dict(
    backbone=dict(weights='dinov2_vits14_reg'),
    decode_head=dict(in_channels=[384] * 4, channels=4 * 384))
