"""HASSOD's second stage: mean teacher with adaptive targets.

Command, on one machine:

    tools/dist_train.sh configs/hassod/hassod_mean-teacher.py 4 \
        --cfg-options load_from=DETECTOR.pth data_root=DIR/

DETECTOR.pth is the last checkpoint of hassod_cascade-mask-rcnn_r50.py;
teacher and student both start from it. Data: as there; the unlabelled images
are the same photos; another folder:
train_dataloader.dataset.unlabeled.data_prefix.img=/FOLDER. The student is
evaluated; the teacher: model.semi_test_cfg.predict_on=teacher.

Hardware: 4 GPUs. Memory, hours: not measured. Result to expect: mask
AR@1000 of 22.5 on LVIS, 26.0 on SA-1B, 28.3 on COCO (HASSOD's paper); not
measured here.
"""
_base_ = [
    'hassod_cascade-mask-rcnn_r50.py',
    '../_base_/datasets/strong_colors.py'
]

# ----- frequently changed ---------------------------------------------------
max_iters = 2000
batch_size = 2  # a GPU, of labelled and of unlabelled images; 8 in all

# ----- possibly changed -----------------------------------------------------
detector = _base_.model
# No DropLoss: the teacher names what the labels have missed.
detector.roi_head.bbox_head = [
    dict(head, droploss_iou=None) for head in _base_.model.roi_head.bbox_head
]
model = dict(
    _delete_=True,
    type='sohes.HassodMeanTeacher',
    detector=detector,
    data_preprocessor=dict(
        type='MultiBranchDataPreprocessor',
        data_preprocessor=_base_.model.data_preprocessor),
    semi_train_cfg=dict(score_thr=0.7, coverage=0.75),
    semi_test_cfg=dict(predict_on='student'))

geometry = _base_.train_pipeline[2:4]  # resize and flip; no copy-paste
# The strong view is Phase 3's without solarising, and with erasing; what
# HASSOD's description leaves open is ours.
colors = [
    *_base_.colors[:4], _base_.colors[5],
    *[
        dict(
            type='mmpretrain.RandomErasing',
            erase_prob=prob,
            min_area_ratio=smallest,  # ours, as Unbiased Teacher has it
            max_area_ratio=0.2,  # ours
            aspect_range=aspect,  # ours
            mode='rand') for prob, smallest, aspect in (
                (0.7, 0.05, (0.3, 3.3)), (0.5, 0.02, (0.1, 6.0)),
                (0.3, 0.02, (0.05, 8.0)))
    ]
]
pack = [dict(type='sohes.PackEntityInputs', bitmaps=True)]
train_pipeline = [
    dict(type='sohes.LoadEntityImage'),
    dict(type='sohes.LoadEntities'), *geometry,
    dict(
        type='sohes.OrderedMultiBranch',
        branch_field=['sup', 'sup_weak'],
        sup=[*colors, *pack],
        sup_weak=pack)
]
unsup_pipeline = [
    dict(type='sohes.LoadEntityImage'), *geometry,
    dict(
        type='sohes.OrderedMultiBranch',
        branch_field=['unsup_teacher', 'unsup_student'],
        unsup_teacher=pack,
        unsup_student=[*colors, *pack])
]
train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(
        _delete_=True,
        type='sohes.TwoStreamDataset',
        labeled=dict(
            _base_.train_dataloader.dataset, pipeline=train_pipeline),
        unlabeled=dict(
            type='sohes.ImageFolderDataset',
            data_root=_base_.data_root,
            data_prefix=dict(img='images/'),
            pipeline=unsup_pipeline)))

optim_wrapper = dict(  # fp32
    _delete_=True,
    type='OptimWrapper',
    optimizer=_base_.optim_wrapper.optimizer)
auto_scale_lr = dict(enable=False, base_batch_size=8)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0,
         end=1000),
    dict(type='CosineAnnealingLR', T_max=max_iters, eta_min=0.0,
         by_epoch=False, begin=0, end=max_iters)
]
train_cfg = dict(max_iters=max_iters)

# ----- never changed --------------------------------------------------------
# A momentum of 0.9996, said of the student.
custom_hooks = [dict(type='sohes.TeacherHook', momentum=0.0004)]
default_hooks = dict(checkpoint=dict(interval=500))
