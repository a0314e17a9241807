r"""LVIS v1 val, photos of COCO train2017 and val2017; files: docs/datasets.md.

    python tools/dataset_converters/lvis.py \
        data/coco/annotations/lvis_v1_val.json \
        --out data/coco/entities_lvis_v1_val.json

    python tools/test.py configs/datasets/lvis.py CKPT

with the model of configs/sohes_phase2.py. Elsewhere: --cfg-options
data_root=DIR/.
"""
_base_ = ['../sohes_phase2.py']

data_root = 'data/coco/'
ann_file = 'entities_lvis_v1_val.json'
test_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file=ann_file,
        data_prefix=dict(img='')))
test_evaluator = [
    dict(type='sohes.EntityMetric', ann_file=data_root + ann_file)
]
