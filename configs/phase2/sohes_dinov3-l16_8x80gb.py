"""Phase 2 on DINOv3's ViT-L/16, 8 GPUs of 80 GB.

    tools/dist_train.sh configs/phase2/sohes_dinov3-l16_8x80gb.py 8 \
        --cfg-options data_root=DIR/

As sohes_phase2_8gpu.py, with a backbone of 2025 whose earlier blocks learn
slower. DINOv3's weights are behind a licence form: the first start says which
file to fetch and where to put it. To keep the ViT as it is: --cfg-options
model.backbone.frozen_vit=True.

Hardware: 8 GPUs of 80 GB; not run on a GPU. Memory a GPU and hours: not
measured. Result: not measured; the paper has no figure for it.
"""
_base_ = 'sohes_phase2_8gpu.py'

# ----- frequently changed ---------------------------------------------------
model = dict(
    backbone=dict(weights='dinov3_vitl16', drop_path_rate=0.3),  # ours
    panoptic_head=dict(in_channels=[1024, 1024, 1024, 1024]))

# ----- possibly changed -----------------------------------------------------
# In place of one factor for the whole ViT: block i of 24 has 0.8^(24 - i) of
# the rate. 0.8 is what BEiT and ViT-Adapter take for ViT-L; ours here.
optim_wrapper = dict(
    constructor='sohes.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(
        layer_decay_rate=0.8,
        custom_keys={'backbone.vit': dict(lr_mult=1.0)}))
