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
    'sohes_cascade-mask-rcnn.py', '../_base_/datasets/strong_colors.py'
]

# ----- frequently changed ---------------------------------------------------
max_iters = 5000  # appendix A
base_lr = 0.00008  # a tenth of Phase 2's; ours

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

meta_keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor',
             'flip', 'flip_direction', 'homography_matrix')
geometry = _base_.train_pipeline[2:5]
pack = [dict(type='sohes.PackEntityInputs', meta_keys=meta_keys)]
sup_pipeline = [
    *_base_.train_pipeline[:-1], *_base_.colors,
    dict(type='sohes.PackEntityInputs', bitmaps=True, meta_keys=meta_keys)
]
weak_pipeline = [
    dict(type='sohes.EntityResize', scale=_base_.image_size, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5), *pack
]
unsup_pipeline = [
    dict(type='sohes.LoadEntityImage'),
    dict(
        type='sohes.OrderedMultiBranch',
        branch_field=['unsup_teacher', 'unsup_student'],
        unsup_teacher=weak_pipeline,
        unsup_student=[*geometry, *_base_.colors, *pack])
]
data_root = _base_.data_root
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='sohes.TwoStreamDataset',
        labeled=dict(
            type='sohes.EntityDataset',
            data_root=data_root,
            ann_file='labels.json',
            data_prefix=dict(img='images/'),
            filter_cfg=dict(min_masks=1),
            pipeline=sup_pipeline),
        unlabeled=dict(
            type='sohes.ImageFolderDataset',
            data_root=data_root,
            data_prefix=dict(img='images/'),
            pipeline=unsup_pipeline)))

optim_wrapper = dict(optimizer=dict(lr=base_lr))
param_scheduler = []  # the rate is constant; ours

# ----- never changed --------------------------------------------------------
custom_hooks = [
    # The teacher's momentum of 0.9995 (appendix A), said of the student.
    dict(type='sohes.TeacherHook', momentum=0.0005),
    dict(type='sohes.RandomStateHook'),
    dict(type='sohes.NonFiniteLossHook')
]
train_cfg = dict(max_iters=max_iters)
default_hooks = dict(checkpoint=dict(interval=1000))
log_processor = dict(custom_cfg=[
    dict(data_src=name, method_name='mean', window_size=50)
    for name in ('teacher_threshold', 'teacher_small', 'teacher_medium',
                 'teacher_large')
])
