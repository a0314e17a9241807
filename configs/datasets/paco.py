r"""PACO-LVIS v1 val: objects and their parts; files: docs/datasets.md.

    python tools/dataset_converters/paco.py \
        data/paco/annotations/paco_lvis_v1_val.json \
        --out data/coco/entities_paco_lvis_v1_val.json

    python tools/test.py configs/datasets/paco.py CKPT

with the model of configs/sohes_phase2.py. Elsewhere: --cfg-options
data_root=DIR/.
"""
_base_ = ['../sohes_phase2.py']

data_root = 'data/coco/'
ann_file = 'entities_paco_lvis_v1_val.json'
test_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file=ann_file,
        data_prefix=dict(img='')))
test_evaluator = [
    dict(type='sohes.EntityMetric', ann_file=data_root + ann_file),
    dict(type='sohes.ForestMetric', ann_file=data_root + ann_file)
]
