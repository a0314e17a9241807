"""Phase 3 after configs/tiny/sohes_phase2_tiny.py, on two CPU cores.

    python tools/train.py configs/tiny/sohes_phase3_tiny.py --cfg-options \
        load_from=PHASE2.pth data_root=DIR/ model.detector.backbone.weights=\
WEIGHTS

or tools/dist_train.sh configs/tiny/sohes_phase3_tiny.py 2 with the same
options. WEIGHTS are those of Phase 2; they give the ViT's shape, and
PHASE2.pth its values. The model is Phase 2's, the types are those of
configs/sohes_phase3.py.

Hardware: 2 CPU cores. Memory, time and result: not measured.
"""
_base_ = '../sohes_phase3.py'

# ----- frequently changed ---------------------------------------------------
batch_size = 2  # a process, of I1 and of I2
num_workers = 1
max_iters = 500
base_lr = 0.00003  # a tenth of Phase 2's
image_size = (320, 320)
num_queries = 50

data_preprocessor = dict(batch_augments=[
    dict(
        type='BatchFixedSizePad',
        size=image_size,
        img_pad_value=0,
        pad_mask=True,
        mask_pad_value=0,
        pad_seg=False)
])
model = dict(
    data_preprocessor=dict(data_preprocessor=data_preprocessor),
    detector=dict(
        data_preprocessor=data_preprocessor,
        backbone=dict(
            weights='dinov2_vits14',
            drop_path_rate=0.0,
            norm_cfg=dict(type='LN2d'),
            with_cp=False),
        panoptic_head=dict(
            in_channels=[384, 384, 384, 384],
            num_queries=num_queries,
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
                    ffn_cfg=dict(
                        embed_dims=128, feedforward_channels=512)))),
        train_cfg=dict(num_points=1024)))

geometry = [
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomResize',
        scale=image_size,
        ratio_range=(0.1, 2.0),
        resize_type='Resize',
        keep_ratio=True),
    dict(
        type='RandomCrop',
        crop_size=image_size,
        crop_type='absolute',
        recompute_bbox=True,
        allow_negative_crop=True)
]
sup_pipeline = [
    dict(type='sohes.LoadEntityImage'),
    dict(type='sohes.LoadEntities'), *geometry,
    dict(type='sohes.EntityCopyPaste'), *_base_.colors, *_base_.pack
]
weak_pipeline = [
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5), *_base_.pack
]
unsup_pipeline = [
    dict(type='sohes.LoadEntityImage'),
    dict(
        type='sohes.OrderedMultiBranch',
        branch_field=['unsup_teacher', 'unsup_student'],
        unsup_teacher=weak_pipeline,
        unsup_student=[*geometry, *_base_.colors, *_base_.pack])
]
test_pipeline = [
    dict(type='sohes.LoadEntityImage'),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(
        type='sohes.PackEntityInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                   'scale_factor'))
]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    dataset=dict(
        labeled=dict(pipeline=sup_pipeline),
        unlabeled=dict(pipeline=unsup_pipeline)))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
auto_scale_lr = dict(base_batch_size=2)

# ----- possibly changed -----------------------------------------------------
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(
        type='sohes.Adan',
        lr=base_lr,
        betas=(0.98, 0.92, 0.99),
        weight_decay=0.02),
    paramwise_cfg=dict(
        custom_keys={
            'backbone.vit': dict(lr_mult=0.1),
            'query_embed': dict(decay_mult=0.0),
            'query_feat': dict(decay_mult=0.0),
            'level_embed': dict(decay_mult=0.0),
        },
        norm_decay_mult=0.0),
    clip_grad=dict(max_norm=1.0, norm_type=2))
default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(interval=250))
