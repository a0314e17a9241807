"""Phase 2, self-instruction: a segmenter that learns from the pseudo-labels.

The paper's training (section 3.2, appendix A). Command, on 8 machines of 8
GPUs, on each:

    NNODES=8 NODE_RANK=0..7 MASTER_ADDR=HOST \
        tools/dist_train.sh configs/sohes_phase2.py 8

or with slurm: GPUS=64 tools/slurm_train.sh PARTITION NAME CONFIG WORK_DIR.
On one machine of 8: tools/dist_train.sh configs/sohes_phase2.py 8
--auto-scale-lr, but configs/phase2/ has more for smaller machines, and
configs/tiny/ for none. It continues exactly with --resume.

Data: data/entities/labels.json, which tools/generate_pseudo_labels.py wrote,
and the photos in data/entities/images/; elsewhere: --cfg-options
data_root=DIR/. To evaluate: tools/test.py, with data/entities/val.json and
data/entities/val/.

Hardware: 64 GPUs, 2 images each; the paper had A100s. Hours: the paper took
about 3 days. Memory a GPU: not measured here. Result to expect: AR@1000 of
32.6 on SA-1B (table 3, 'Phase 2'); not verified here.

FSDP or DeepSpeed through mmengine's FlexibleRunner is not offered: weights,
gradients and Adan's moments of this model are under 4 GB a GPU, the memory
goes into activations, which those do not share out and with_cp saves.
"""
_base_ = [
    '_base_/models/entity_mask2former_vitb8.py',
    '_base_/datasets/entities.py',
    '_base_/schedules/adan.py',
    '_base_/default_runtime.py',
]

# ----- frequently changed ---------------------------------------------------
batch_size = 2  # a GPU; 128 over 64 GPUs (appendix A)
num_workers = 4  # a GPU
max_iters = 40000  # appendix A
base_lr = 0.0008  # appendix A, for a batch of 128

train_dataloader = dict(batch_size=batch_size, num_workers=num_workers)
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(optimizer=dict(lr=base_lr))
param_scheduler = dict(
    end=max_iters,
    milestones=[36000])  # 90 % of the steps; ours
# No EMA here: Phase 3 has a teacher.
