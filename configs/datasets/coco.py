r"""COCO 2017 val; files: docs/datasets.md.

    python tools/dataset_converters/coco.py \
        data/coco/annotations/instances_val2017.json \
        --out data/coco/entities_val2017.json

    python tools/test.py configs/datasets/coco.py CKPT

with the model of configs/sohes_phase2.py. Elsewhere: --cfg-options
data_root=DIR/.
"""
_base_ = ['../sohes_phase2.py']

data_root = 'data/coco/'
ann_file = 'entities_val2017.json'
test_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file=ann_file,
        data_prefix=dict(img='val2017/')))
test_evaluator = [
    dict(type='sohes.EntityMetric', ann_file=data_root + ann_file)
]
