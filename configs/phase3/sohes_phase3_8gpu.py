"""Phase 3 after configs/phase2/sohes_phase2_8gpu.py, on 8 GPUs.

    tools/dist_train.sh configs/phase3/sohes_phase3_8gpu.py 8 --cfg-options \
        load_from=PHASE2.pth data_root=DIR/

Differs from configs/sohes_phase3.py in the batch (16 of I1 and 16 of I2), the
learning rate (in proportion) and the number of steps: twice as many, as in
Phase 2. PHASE2.pth may be that of configs/sohes_phase2.py too.

Hardware: 8 GPUs of 80 GB. Memory a GPU and hours: not measured. Result: not
measured; the paper has figures for its own batch alone.
"""
_base_ = '../sohes_phase3.py'

# ----- frequently changed ---------------------------------------------------
max_iters = 10000  # ours
base_lr = 0.00001  # a tenth of Phase 2's

train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(optimizer=dict(lr=base_lr))
auto_scale_lr = dict(base_batch_size=16)
# Twice the paper's updates, so a longer average: the teacher ends as far from
# its start.
custom_hooks = [dict(type='sohes.TeacherHook', momentum=0.00025)]
