"""Adan in bf16, for a batch of 128 (appendix A of the paper).

A configuration adds ``end`` and ``milestones`` of the rate.
"""
optim_wrapper = dict(
    type='AmpOptimWrapper',  # deformable attention stays in fp32 inside it
    dtype='bfloat16',
    loss_scale=1.0,  # bf16 has fp32's range: there is nothing to scale
    optimizer=dict(
        type='sohes.Adan',  # appendix A; the rest is ours
        lr=0.0008,
        betas=(0.98, 0.92, 0.99),
        weight_decay=0.02),
    paramwise_cfg=dict(
        # Of the keys that match, mmengine takes the longest, and then asks
        # no more for norm_decay_mult: the ViT's norms need their own.
        custom_keys={
            'vit.': dict(lr_mult=0.1),  # ours
            '.cls_token': dict(lr_mult=0.1, decay_mult=0.0),
            '.reg_token': dict(lr_mult=0.1, decay_mult=0.0),
            '.pos_embed': dict(lr_mult=0.1, decay_mult=0.0),
            # mmpretrain's names of a block's norms, and timm's.
            '.ln1.': dict(lr_mult=0.1, decay_mult=0.0),
            '.ln2.': dict(lr_mult=0.1, decay_mult=0.0),
            '.norm1.': dict(lr_mult=0.1, decay_mult=0.0),
            '.norm2.': dict(lr_mult=0.1, decay_mult=0.0),
            'query_embed': dict(decay_mult=0.0),
            'query_feat': dict(decay_mult=0.0),
            'level_embed': dict(decay_mult=0.0),
        },
        norm_decay_mult=0.0),
    clip_grad=dict(max_norm=0.01, norm_type=2))  # Mask2Former's
param_scheduler = dict(
    type='MultiStepLR', by_epoch=False, begin=0, gamma=0.1)
# The rate follows the batch with --auto-scale-lr, in proportion.
auto_scale_lr = dict(enable=False, base_batch_size=128)
