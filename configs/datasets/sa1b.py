r"""SA-1B, one pack; files: docs/datasets.md.

    python tools/dataset_converters/sa1b.py \
        data/sa1b --pack sa_000020 \
        --out data/sa1b/entities_sa_000020.json

    python tools/test.py configs/datasets/sa1b.py CKPT

with the model of configs/sohes_phase2.py. Elsewhere: --cfg-options
data_root=DIR/.
"""
_base_ = ['../sohes_phase2.py']

data_root = 'data/sa1b/'
ann_file = 'entities_sa_000020.json'
test_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file=ann_file,
        data_prefix=dict(img='')))
test_evaluator = [
    dict(type='sohes.EntityMetric', ann_file=data_root + ann_file)
]
