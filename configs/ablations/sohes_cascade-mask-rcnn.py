"""Table 8: Cascade Mask R-CNN on the pseudo-labels, without the hierarchy.

    tools/dist_train.sh configs/ablations/sohes_cascade-mask-rcnn.py 8 \
        --cfg-options data_root=DIR/

The segmentation head that CutLER and HASSOD use, on the same json, images,
augmentation, backbone and schedule as configs/sohes_phase2.py; mmdetection's
own model, made class-agnostic. Its masks have no parents.

Hardware: as configs/sohes_phase2.py. The paper's result: AR of 27.0 on LVIS,
29.2 on EntitySeg, 31.9 on SA-1B (after Phase 3); not measured here.
"""
_base_ = [
    '../_base_/models/entity_cascade_mask_rcnn_vitb8.py',
    '../_base_/datasets/entities.py', '../_base_/schedules/adan.py',
    '../_base_/default_runtime.py'
]

# ----- frequently changed ---------------------------------------------------
max_iters = 40000

train_cfg = dict(max_iters=max_iters)
param_scheduler = dict(end=max_iters, milestones=[36000])

# ----- possibly changed -----------------------------------------------------
train_pipeline = _base_.train_pipeline
train_pipeline[-1].bitmaps = True  # as mmdetection's heads want masks
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
test_evaluator = [_base_.test_evaluator[0]]  # EntityMetric; no forest

# Mask2Former's bound of 0.01 is for its own losses.
optim_wrapper = dict(clip_grad=dict(max_norm=1.0))
