"""What every training run has: scope, hooks, loops, processes, logs."""
default_scope = 'mmdet'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook', by_epoch=False, interval=5000,
        max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    random_state=dict(type='sohes.RandomStateHook'),  # exact --resume
    non_finite_loss=dict(type='sohes.NonFiniteLossHook'))
custom_hooks = []  # what a configuration has beside these

train_cfg = dict(type='IterBasedTrainLoop')
test_cfg = dict(type='TestLoop')

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))  # without GPUs it is gloo
randomness = dict(seed=0)

log_processor = dict(
    type='LogProcessor',
    window_size=50,
    by_epoch=False,
    custom_cfg=[  # not that of the last batch alone
        dict(
            data_src='masks_without_query',
            method_name='mean',
            window_size=50)
    ])
log_level = 'INFO'
load_from = None
resume = False
