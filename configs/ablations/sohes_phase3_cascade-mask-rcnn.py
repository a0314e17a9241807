"""Table 8: Phase 3 of Cascade Mask R-CNN, without the hierarchy.

    tools/dist_train.sh configs/ablations/sohes_phase3_cascade-mask-rcnn.py 8 \
        --cfg-options load_from=PHASE2.pth data_root=DIR/

PHASE2.pth is of configs/ablations/sohes_cascade-mask-rcnn.py. Images,
augmentation, thresholds and schedule are those of configs/sohes_phase3.py;
teacher and student are mmdetection's own model.

Hardware: as configs/sohes_phase3.py. The paper's result: AR of 27.0 on LVIS,
29.2 on EntitySeg, 31.9 on SA-1B; not measured here.
"""
_base_ = [
    '../_base_/models/entity_cascade_mask_rcnn_vitb8.py',
    '../_base_/datasets/entities_two_streams.py',
    '../_base_/schedules/adan.py', '../_base_/default_runtime.py'
]

# ----- frequently changed ---------------------------------------------------
max_iters = 5000  # appendix A
base_lr = 0.00008  # a tenth of Phase 2's; ours

train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(
    optimizer=dict(lr=base_lr), clip_grad=dict(max_norm=1.0))
param_scheduler = []  # the rate is constant; ours

# ----- possibly changed -----------------------------------------------------
model = dict(
    _delete_=True,
    type='sohes.SelfCorrection',
    detector=_base_.model,
    data_preprocessor=dict(
        type='MultiBranchDataPreprocessor',
        data_preprocessor=_base_.model.data_preprocessor),
    semi_train_cfg=dict(
        sup_weight=1.0,  # equation 2
        unsup_weight=1.0,
        score_thr=dict(gamma=200.0, low=0.3, high=0.7),  # equation 3
        min_area=1),
    semi_test_cfg=dict(predict_on='teacher'))

train_pipeline = _base_.train_pipeline
train_pipeline[-1].bitmaps = True  # as mmdetection's heads want masks
train_dataloader = dict(
    dataset=dict(labeled=dict(pipeline=train_pipeline)))
test_evaluator = [_base_.test_evaluator[0]]  # EntityMetric; no forest

# ----- never changed --------------------------------------------------------
# The teacher's momentum of 0.9995 (appendix A), said of the student.
custom_hooks = [dict(type='sohes.TeacherHook', momentum=0.0005)]
default_hooks = dict(checkpoint=dict(interval=1000))
log_processor = dict(custom_cfg=[
    dict(data_src=name, method_name='mean', window_size=50)
    for name in ('teacher_threshold', 'teacher_small', 'teacher_medium',
                 'teacher_large')
])
