"""Phase 3, self-correction: a teacher and a student mend the labels.

The paper's training (section 3.3, appendix A). Command, on one machine:

    tools/dist_train.sh configs/sohes_phase3.py 8 --cfg-options \
        load_from=PHASE2.pth data_root=DIR/

PHASE2.pth is the last checkpoint of configs/sohes_phase2.py; teacher and
student both start from it. For 8 machines and slurm see that file; fewer
GPUs than 64: --auto-scale-lr. It continues exactly with --resume.

Data: DIR/labels.json of Phase 1 and the photos in DIR/images/, which are I1.
I2, the raw images, are the same photos; another folder:
train_dataloader.dataset.unlabeled.data_prefix.img=/FOLDER.
To evaluate, the teacher: tools/test.py, with DIR/val.json and DIR/val/; the
student: model.semi_test_cfg.predict_on=student.

A Phase 2 checkpoint of another size than the paper's needs the configuration
that follows it: configs/phase3/ and configs/tiny/sohes_phase3_tiny.py.

Hardware: 64 GPUs, 2 images of I1 and 2 of I2 each. Memory a GPU and hours:
not measured. Result to expect: AR@1000 of 33.3 on SA-1B, 32.6 before (table
3); not verified here.
"""
_base_ = [
    '_base_/models/entity_mask2former_vitb8.py',
    '_base_/datasets/entities_two_streams.py',
    '_base_/schedules/adan.py',
    '_base_/default_runtime.py',
]

# ----- frequently changed ---------------------------------------------------
batch_size = 2  # a GPU, of I1 and of I2; 128 over 64 GPUs (appendix A)
num_workers = 4  # a GPU
max_iters = 5000  # appendix A
base_lr = 0.00008  # a tenth of Phase 2's; ours

train_dataloader = dict(batch_size=batch_size, num_workers=num_workers)
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(optimizer=dict(lr=base_lr))
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
        # Equation 3; a number instead is a threshold for all sizes.
        score_thr=dict(gamma=200.0, low=0.3, high=0.7),
        min_area=1),  # pixels in the student's view
    semi_test_cfg=dict(predict_on='teacher'))

# ----- never changed --------------------------------------------------------
# The teacher's momentum of 0.9995 (appendix A), said of the student.
custom_hooks = [dict(type='sohes.TeacherHook', momentum=0.0005)]
default_hooks = dict(checkpoint=dict(interval=1000))
# The teacher's counts jump from batch to batch: their mean since the last
# line of the log.
log_processor = dict(custom_cfg=[
    dict(data_src=name, method_name='mean', window_size=50)
    for name in ('teacher_threshold', 'teacher_small', 'teacher_medium',
                 'teacher_large', 'sup_masks_without_query')
])
