r"""EntitySeg val, low resolution; files: docs/datasets.md.

    python tools/dataset_converters/entityseg.py \
        data/entityseg/entityseg_val_lr.json \
        --out data/entityseg/entities_val_lr.json

    python tools/test.py configs/datasets/entityseg.py CKPT

with the model of configs/sohes_phase2.py. Elsewhere: --cfg-options
data_root=DIR/.
"""
_base_ = ['../sohes_phase2.py']

data_root = 'data/entityseg/'
ann_file = 'entities_val_lr.json'
test_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file=ann_file,
        data_prefix=dict(img='images_lr/')))
test_evaluator = [
    dict(type='sohes.EntityMetric', ann_file=data_root + ann_file)
]
