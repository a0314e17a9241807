"""Phase 2 on one machine of 8 GPUs: the paper's model, an eighth of its batch.

    tools/dist_train.sh configs/phase2/sohes_phase2_8gpu.py 8

Differs from configs/sohes_phase2.py in the batch (16), the learning rate (in
proportion) and the number of steps: 80 000, a quarter of the images that the
paper's run sees. For the paper's very steps at 8 times its duration:
--cfg-options optim_wrapper.accumulative_counts=8 train_cfg.max_iters=320000,
and lr and milestones of configs/sohes_phase2.py.

Hardware: 8 GPUs of 80 GB. Memory a GPU and hours: not measured. On smaller
ones: --cfg-options train_dataloader.batch_size=1 with --auto-scale-lr.
Result: not measured; the paper has figures for its own batch alone.
"""
_base_ = '../sohes_phase2.py'

# ----- frequently changed ---------------------------------------------------
max_iters = 80000  # ours
base_lr = 0.0001  # 0.0008 (appendix A) x 16 / 128

train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(optimizer=dict(lr=base_lr))
param_scheduler = dict(end=max_iters, milestones=[72000])
auto_scale_lr = dict(base_batch_size=16)
