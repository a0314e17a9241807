"""Phase 3's images (section 3.3): I1 with its labels, I2 without.

    data/entities/labels.json     I1, from tools/generate_pseudo_labels.py
    data/entities/images/         the photos of I1, and of I2

Each image of I2 is seen twice: a weak view for the teacher, a strong one for
the student. ``train_pipeline`` is that of I1, ``unsup_pipeline`` that of I2.
"""
_base_ = ['entities.py', 'strong_colors.py']

pack = dict(
    type='sohes.PackEntityInputs',
    meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor',
               'flip', 'flip_direction', 'homography_matrix'))
train_pipeline = [*_base_.train_pipeline[:-1], *_base_.colors, pack]
unsup_pipeline = [
    dict(type='sohes.LoadEntityImage'),
    dict(
        type='sohes.OrderedMultiBranch',
        branch_field=['unsup_teacher', 'unsup_student'],
        unsup_teacher=[
            dict(
                type='sohes.EntityResize',
                scale=_base_.image_size,
                keep_ratio=True),
            dict(type='RandomFlip', prob=0.5), pack
        ],
        # Flip, large scale jittering and crop, as of I1; no copy-paste.
        unsup_student=[*_base_.train_pipeline[2:5], *_base_.colors, pack])
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='sohes.TwoStreamDataset',
        labeled=dict(
            _base_.train_dataloader.dataset, pipeline=train_pipeline),
        unlabeled=dict(
            type='sohes.ImageFolderDataset',
            data_root=_base_.data_root,
            data_prefix=dict(img='images/'),
            pipeline=unsup_pipeline)))
