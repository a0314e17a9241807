r"""BSDS500 val, all annotators pooled; files: docs/datasets.md.

    python tools/dataset_converters/bsds500.py \
        data/BSDS500/data \
        --out data/BSDS500/data/entities_val.json

    python tools/test.py configs/datasets/bsds500.py CKPT

with the model of configs/sohes_phase2.py. Elsewhere: --cfg-options
data_root=DIR/.
"""
_base_ = ['../sohes_phase2.py']

data_root = 'data/BSDS500/data/'
ann_file = 'entities_val.json'
test_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file=ann_file,
        data_prefix=dict(img='images/val/')))
test_evaluator = [
    dict(type='sohes.EntityMetric', ann_file=data_root + ann_file)
]
