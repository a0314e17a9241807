"""Muon for models on a CPU; the file that takes it sets rate and steps.

Its 0.3 of the rate is NAdamW's, which trains queries, norms and biases.
"""
muon = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(
        type='sohes.Muon',
        weight_decay=0.05,
        nesterov=True,
        fallback_lr_scale=0.3),
    paramwise_cfg=dict(
        custom_keys={
            'query_embed': dict(decay_mult=0.0),
            'query_feat': dict(decay_mult=0.0),
            'level_embed': dict(decay_mult=0.0),
        },
        norm_decay_mult=0.0),
    clip_grad=dict(max_norm=1.0, norm_type=2))
muon_schedule = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=0, eta_min=0.0)
]
