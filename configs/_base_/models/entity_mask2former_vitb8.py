"""Mask2Former on a ViT-Adapter on DINO's ViT-B/8, with an ancestor head.

Section 3.2 of the paper. The head is Mask2Former's own (Cheng et al. 2022)
but for its single class, its number of queries and the ancestor prediction.
"""
num_queries = 300  # ours: the paper is silent

model = dict(
    type='sohes.EntityMask2Former',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],  # of ImageNet, RGB, as DINO's
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=False,  # sohes.LoadEntityImage reads RGB
        pad_size_divisor=32,
        pad_mask=True,
        mask_pad_value=0,
        pad_seg=False,
        batch_augments=[
            dict(
                type='BatchFixedSizePad',
                size=(1024, 1024),
                img_pad_value=0,
                pad_mask=False,  # the head takes smaller masks
                pad_seg=False)
        ]),
    backbone=dict(
        type='sohes.ViTAdapter',
        weights='dino_vitb8',  # a name of the zoo, or a file
        num_interactions=4,  # Chen et al. 2022
        extra_extractors=2,
        drop_path_rate=0.2,  # ours
        norm_cfg=dict(type='SyncBN'),
        with_cp=True),
    panoptic_head=dict(
        type='sohes.EntityMask2FormerHead',
        in_channels=[768, 768, 768, 768],
        strides=[4, 8, 16, 32],
        feat_channels=256,
        out_channels=256,
        num_queries=num_queries,
        num_transformer_feat_level=3,
        pixel_decoder=dict(
            type='MSDeformAttnPixelDecoder',
            num_outs=3,
            norm_cfg=dict(type='GN', num_groups=32),
            act_cfg=dict(type='ReLU'),
            encoder=dict(
                num_layers=6,
                layer_cfg=dict(
                    self_attn_cfg=dict(
                        embed_dims=256,
                        num_heads=8,
                        num_levels=3,
                        num_points=4,
                        dropout=0.0,
                        batch_first=True),
                    ffn_cfg=dict(
                        embed_dims=256,
                        feedforward_channels=1024,
                        num_fcs=2,
                        ffn_drop=0.0,
                        act_cfg=dict(type='ReLU', inplace=True)))),
            positional_encoding=dict(num_feats=128, normalize=True)),
        enforce_decoder_input_project=False,
        positional_encoding=dict(num_feats=128, normalize=True),
        transformer_decoder=dict(
            return_intermediate=True,
            num_layers=9,
            layer_cfg=dict(
                self_attn_cfg=dict(
                    embed_dims=256,
                    num_heads=8,
                    dropout=0.0,
                    batch_first=True),
                cross_attn_cfg=dict(
                    embed_dims=256,
                    num_heads=8,
                    dropout=0.0,
                    batch_first=True),
                ffn_cfg=dict(
                    embed_dims=256,
                    feedforward_channels=2048,
                    num_fcs=2,
                    ffn_drop=0.0,
                    act_cfg=dict(type='ReLU', inplace=True))),
            init_cfg=None),
        loss_cls=dict(
            type='CrossEntropyLoss',
            use_sigmoid=False,
            loss_weight=2.0,
            reduction='mean',
            class_weight=[1.0, 0.1]),  # entity, no-object
        loss_mask=dict(
            type='CrossEntropyLoss',
            use_sigmoid=True,
            reduction='mean',
            loss_weight=5.0),
        loss_dice=dict(
            type='DiceLoss',
            use_sigmoid=True,
            activate=True,
            reduction='mean',
            naive_dice=True,
            eps=1.0,
            loss_weight=5.0),
        loss_ancestor=dict(  # section 3.2; its weight is ours
            type='sohes.AncestorLoss', loss_weight=1.0, diagonal=False)),
    panoptic_fusion_head=dict(type='sohes.EntityFusionHead'),
    train_cfg=dict(
        num_points=12544,
        oversample_ratio=3.0,
        importance_sample_ratio=0.75,
        assigner=dict(
            type='HungarianAssigner',
            match_costs=[
                dict(type='ClassificationCost', weight=2.0),
                dict(
                    type='CrossEntropyLossCost', weight=5.0,
                    use_sigmoid=True),
                dict(type='DiceCost', weight=5.0, pred_act=True, eps=1.0)
            ]),
        sampler=dict(type='MaskPseudoSampler')),
    test_cfg=dict(
        max_per_image=1000,  # AR@1000 (section 4); at most num_queries
        nms_iou_thr=None,  # duplicates stay; ours
        ancestor_thr=0.5,  # ours
        mask_format='rle'))
