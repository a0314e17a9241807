"""What makes the paper's model one for two CPU cores.

For ``model``, or Phase 3's ``detector``: ViT-S, 224 pixels, 50 queries, 3
decoder layers, LN in place of SyncBN, which trains on GPUs alone.
"""
tiny_model = dict(
    data_preprocessor=dict(batch_augments=[
        dict(
            type='BatchFixedSizePad',
            size=(224, 224),
            img_pad_value=0,
            pad_mask=False,  # the head takes smaller masks
            pad_seg=False)
    ]),
    backbone=dict(
        weights='dinov2_vits14',
        drop_path_rate=0.0,
        norm_cfg=dict(type='LN2d'),
        with_cp=False),
    panoptic_head=dict(
        in_channels=[384, 384, 384, 384],
        num_queries=50,
        feat_channels=128,
        out_channels=128,
        pixel_decoder=dict(
            encoder=dict(
                num_layers=2,
                layer_cfg=dict(
                    self_attn_cfg=dict(embed_dims=128, num_heads=4),
                    ffn_cfg=dict(
                        embed_dims=128, feedforward_channels=256))),
            positional_encoding=dict(num_feats=64)),
        positional_encoding=dict(num_feats=64),
        transformer_decoder=dict(
            num_layers=3,
            layer_cfg=dict(
                self_attn_cfg=dict(embed_dims=128, num_heads=4),
                cross_attn_cfg=dict(embed_dims=128, num_heads=4),
                ffn_cfg=dict(embed_dims=128, feedforward_channels=512)))),
    train_cfg=dict(num_points=1024))
