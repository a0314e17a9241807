"""What makes the paper's model one for the CPU: a frozen ViT, light parts.

For ``model``, or Phase 3's ``detector``. The ViT's maps can be kept on disk;
a small stem sees the pixels; there is no deformable attention.
"""
cpu_model = dict(
    autocast='bf16',
    data_preprocessor=dict(
        pad_size_divisor=1,
        batch_augments=None),
    backbone=dict(
        _delete_=True,
        type='sohes.FrozenViT',
        weights='dinov2_vits14',
        vit_size=742,  # 53 x 53 patches of 14
        test_vit_size=602,  # 43 x 43, which find no less
        cells=32,
        stem_blocks=1),
    panoptic_head=dict(
        in_channels=[64, 384],
        feat_channels=256,
        out_channels=128,
        num_queries=245,
        xavier_init=False,  # queries that start less alike learn sooner
        shared_points=True,
        edge_share=0.5,
        soft_labels=True,  # the score says how good the mask is
        # Few pairs are ancestor and descendant: each kind counts half.
        loss_ancestor=dict(
            matched_only=True, pos_weight='balanced', loss_weight=0.5),
        # A head of its own expects the IoU of the mask, for the score.
        loss_iou=dict(type='sohes.MaskIoULoss', loss_weight=2.0),
        num_transformer_feat_level=1,
        pixel_decoder=dict(_delete_=True, type='sohes.LightPixelDecoder'),
        transformer_decoder=dict(
            num_layers=3,
            layer_cfg=dict(ffn_cfg=dict(feedforward_channels=1024)))),
    train_cfg=dict(num_points=6144),
    test_cfg=dict(
        # The whole photo, and nine parts of it enlarged twice, where small
        # entities are found.
        zooms=[1, 2],
        view_size=448,
        # A balanced loss makes scores high, so that 0.5 is too low.
        ancestor_thr=0.9,
        nms_iou_thr=0.9,
        refiner=dict(type='localcrf'),  # Phase 1's step 3
        choose='recall',
        max_per_image=300))
