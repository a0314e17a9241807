"""Muon for models on a CPU; the file that takes it sets the rate.

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
