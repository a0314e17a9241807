"""Phase 3 after configs/phase2/sohes_phase2_few_images.py, on one GPU.

    python tools/train.py configs/phase3/sohes_phase3_few_images.py \
        --cfg-options load_from=PHASE2.pth data_root=DIR/

The model is Phase 2's: ViT-S/16 at 640 pixels. 4 000 steps of 2 images are
under 3 passes over 3 000 images.

Hardware: 1 GPU of 12 GB or more. Memory and hours: not measured. Result: not
measured; the paper has no figure for it.
"""
_base_ = 'sohes_phase3_1x24gb.py'

# ----- frequently changed ---------------------------------------------------
max_iters = 4000  # 500 updates of the weights; ours

model = dict(
    detector=dict(
        backbone=dict(weights='dino_vits16', drop_path_rate=0.1),
        panoptic_head=dict(in_channels=[384, 384, 384, 384])))

train_cfg = dict(max_iters=max_iters)
custom_hooks = [dict(type='sohes.TeacherHook', momentum=0.005)]
