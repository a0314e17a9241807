r"""PartImageNet val (PartImageNet_OOD): parts; files: docs/datasets.md.

    python tools/dataset_converters/partimagenet.py \
        data/partimagenet/val.json \
        --out data/partimagenet/entities_val.json

    python tools/test.py configs/datasets/partimagenet.py CKPT

with the model of configs/sohes_phase2.py. Elsewhere: --cfg-options
data_root=DIR/.
"""
_base_ = ['../sohes_phase2.py']

data_root = 'data/partimagenet/'
ann_file = 'entities_val.json'
test_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file=ann_file,
        data_prefix=dict(img='val/')))
test_evaluator = [
    dict(type='sohes.EntityMetric', ann_file=data_root + ann_file)
]
