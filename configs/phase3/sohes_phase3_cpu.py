"""Phase 3 after configs/phase2/sohes_phase2_cpu.py, on two CPU cores.

    python tools/train.py configs/phase3/sohes_phase3_cpu.py --cfg-options \
        load_from=PHASE2.pth data_root=DIR/ model.detector.backbone.weights=\
WEIGHTS

The model is Phase 2's. The kept maps in DIR/feature_maps/ serve the student
where it sees a whole photo. At enlarged views, its own and the teacher's, the
ViT looks in each step. Colours are not changed: kept maps are of the photo as
it is.

Hardware: 2 CPU cores. Result: see docs/self_correction.md.
"""
_base_ = [
    '../sohes_phase3.py', '../_base_/models/cpu.py',
    '../_base_/schedules/muon.py'
]

# ----- frequently changed ---------------------------------------------------
data_root = 'data/entities/'
batch_size = 2  # a process, of I1 and of I2
num_workers = 1
max_iters = 1500
base_lr = 0.001  # Phase 2's; it falls to 0
view_size = (448, 448)
test_size = (896, 896)
feature_maps = dict(folder=data_root + 'feature_maps/', max_gb=8.0)

model = dict(
    data_preprocessor=dict(
        data_preprocessor=_base_.cpu_model.data_preprocessor),
    detector=_base_.cpu_model,
    # The score is a product with the expected IoU, so half of the paper's:
    # the teacher then believes some 80 masks of a view, as labels have 90.
    # The student learns scores from the labels alone. Learnt from the teacher,
    # they fall with every step where all that the teacher is not sure of
    # counts as nothing, as in the paper, and else they rise, since the student
    # agrees with its teacher better than with any label.
    semi_train_cfg=dict(
        score_thr=dict(low=0.15, high=0.35),
        score_weight=0.0,
        # At 1 the teacher's masks push the student harder than the labels do.
        unsup_weight=0.5,
        min_area=64))  # 4 cells of the 112 x 112 masks

flip = dict(type='RandomFlip', prob=0.5)
crop = dict(
    type='RandomCrop',
    crop_size=view_size,
    crop_type='absolute',
    recompute_bbox=True,
    allow_negative_crop=True)
enlarge = dict(
    type='RandomResize',
    scale=view_size,
    ratio_range=(1.0, 3.0),
    resize_type='Resize',
    keep_ratio=False)
part = dict(  # the whole photo squashed, or a part of it, enlarged
    type='RandomChoice',
    transforms=[[dict(type='Resize', scale=view_size, keep_ratio=False)],
                [enlarge, crop]],
    prob=[0.4, 0.6])
load_map = dict(
    type='sohes.LoadFeatureMap',
    folder=feature_maps['folder'],
    cells=_base_.cpu_model.backbone.cells,
    max_zoom=1.0)  # none for enlarged views, so that the ViT looks at them
pack = dict(_base_.pack, min_area=192)
train_pipeline = [
    *_base_.train_pipeline[:2], flip, part, load_map,
    _base_.train_pipeline[6],  # copy-paste; no canvas
    pack
]
# Of one view of a photo the student sees all. The teacher sees a part of it
# three times in four, enlarged up to twice, and the ViT looks at this part: so
# it finds small entities that the student's view hardly shows. Masks that its
# view cuts are not learnt; the other views are whole, for large ones.
shared = dict(enlarge, scale=test_size, ratio_range=(1.0, 1.5))
unsup_pipeline = _base_.unsup_pipeline
unsup_pipeline.insert(
    1,
    dict(
        type='RandomChoice',
        transforms=[[dict(type='Resize', scale=test_size, keep_ratio=False)],
                    [shared, dict(crop, crop_size=test_size)]]))
unsup_pipeline[2].update(
    unsup_teacher=[
        dict(
            type='RandomChoice',
            transforms=[[
                dict(type='Resize', scale=view_size, keep_ratio=False)
            ], [dict(enlarge, ratio_range=(1.5, 2.0)), crop]],
            prob=[0.25, 0.75]), flip, pack
    ],
    unsup_student=[
        dict(type='Resize', scale=view_size, keep_ratio=False), flip,
        load_map, pack
    ])
test_pipeline = _base_.test_pipeline
test_pipeline[1] = dict(type='Resize', scale=test_size, keep_ratio=False)
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    dataset=dict(
        labeled=dict(pipeline=train_pipeline),
        unlabeled=dict(pipeline=unsup_pipeline)))
test_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
auto_scale_lr = dict(base_batch_size=2)

# ----- possibly changed -----------------------------------------------------
train_cfg = dict(max_iters=max_iters)
optim_wrapper = _base_.muon
optim_wrapper.optimizer.lr = base_lr
param_scheduler = _base_.muon_schedule
param_scheduler[0].end = 10
param_scheduler[1].end = max_iters
# The teacher is an average of the last 100 steps. There are fewer steps than
# the paper's, and each moves the student further.
custom_hooks = [dict(type='sohes.TeacherHook', momentum=0.01)]
default_hooks = dict(
    logger=dict(interval=25), checkpoint=dict(interval=250))
