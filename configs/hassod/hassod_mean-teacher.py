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
_base_ = 'hassod_cascade-mask-rcnn_r50.py'

# ----- frequently changed ---------------------------------------------------
max_iters = 2000
data_root = 'data/entities/'
batch_size = 2  # a GPU, of labelled and of unlabelled images; 8 in all

# ----- possibly changed -----------------------------------------------------
detector = _base_.model
# No DropLoss: the teacher names what the labels have missed.
detector.roi_head.bbox_head = [
    dict(head, droploss_iou=None) for head in _base_.bbox_heads
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
# Of the strong view; what HASSOD's description leaves open is ours.
colors = [
    dict(type='mmpretrain.NumpyToPIL', to_rgb=False),
    dict(
        type='RandomApply',
        prob=0.8,
        transforms=[
            dict(
                type='mmpretrain.torchvision/ColorJitter',
                brightness=0.4,
                contrast=0.4,
                saturation=0.4,
                hue=0.1)
        ]),
    dict(type='mmpretrain.torchvision/RandomGrayscale', p=0.2),
    dict(
        type='RandomApply',
        prob=0.5,
        transforms=[
            dict(
                type='mmpretrain.torchvision/GaussianBlur',
                kernel_size=13,  # ours
                sigma=(0.1, 2.0))  # ours
        ]),
    dict(type='mmpretrain.PILToNumpy', to_bgr=False),
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

train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(
        _delete_=True,
        type='sohes.TwoStreamDataset',
        labeled=dict(
            type='sohes.EntityDataset',
            data_root=data_root,
            ann_file='labels.json',
            data_prefix=dict(img='images/'),
            filter_cfg=dict(min_masks=1),
            pipeline=[
                dict(type='sohes.LoadEntityImage'),
                dict(type='sohes.LoadEntities'), *geometry,
                dict(
                    type='sohes.OrderedMultiBranch',
                    branch_field=['sup', 'sup_weak'],
                    sup=[*colors, *pack],
                    sup_weak=pack)
            ]),
        unlabeled=dict(
            type='sohes.ImageFolderDataset',
            data_root=data_root,
            data_prefix=dict(img='images/'),
            pipeline=[
                dict(type='sohes.LoadEntityImage'), *geometry,
                dict(
                    type='sohes.OrderedMultiBranch',
                    branch_field=['unsup_teacher', 'unsup_student'],
                    unsup_teacher=pack,
                    unsup_student=[*colors, *pack])
            ])))

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
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters)

# ----- never changed --------------------------------------------------------
custom_hooks = [
    # A momentum of 0.9996, said of the student.
    dict(type='sohes.TeacherHook', momentum=0.0004),
    dict(type='sohes.RandomStateHook'),
    dict(type='sohes.NonFiniteLossHook')
]
default_hooks = dict(checkpoint=dict(interval=500))
