"""COCO with RetinaNet, the ViT frozen: DINO's ViT-B/8.

Section 4.4 and figure 6 of the paper, first row. With mmdetection's own
commands, where `sohes` is installed:

    mim train mmdet configs/downstream/mmdet/dino_vitb8_retinanet_coco.py \
        --launcher pytorch --gpus 8

or its tools/train.py; onedl-mim calls mmdet mmdetection. Data: COCO 2017 in
data/coco/.

The ViT gets no gradient; ViT-Adapter, FPN and head start anew. The paper
says nothing of the schedule: 12 epochs are mmdetection's for RetinaNet, AdamW
with these values is what ViT-Adapter's authors have for Mask R-CNN on COCO
with DeiT-B (Chen et al. 2022).

Hardware: 8 GPUs, 2 images each; memory and hours are not measured. The
paper's result: AP 22.7; not verified here.
"""
_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    'mmdet::_base_/datasets/coco_detection.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py'
]

# ----- frequently changed ---------------------------------------------------
weights = 'dino_vitb8'  # a name of the zoo, or a file
width = 768  # channels of that ViT

# ----- possibly changed -----------------------------------------------------
model = dict(
    backbone=dict(
        _delete_=True,
        type='sohes.ViTAdapter',
        weights=weights,
        frozen_vit=True,  # section 4.4
        with_adapter=False,  # it starts anew in both rows
        norm_cfg=dict(type='SyncBN'),  # on a CPU: LN2d
        with_cp=True),  # 17 000 patches an image
    neck=dict(in_channels=[width] * 4))

optim_wrapper = dict(
    optimizer=dict(
        _delete_=True,
        type='AdamW',
        lr=1e-4,
        betas=(0.9, 0.999),
        weight_decay=0.05),
    # So frozen parameters do not even reach the optimizer.
    paramwise_cfg=dict(
        custom_keys={'level_embed': dict(decay_mult=0.0)},
        norm_decay_mult=0.0))
randomness = dict(seed=0)

# ----- never changed --------------------------------------------------------
# RetinaNet begins at stride 8: nobody reads the adapter's map at stride 4.
find_unused_parameters = True
