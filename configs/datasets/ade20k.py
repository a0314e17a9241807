r"""ADE20K validation, the full dataset; files: docs/datasets.md.

    python tools/dataset_converters/ade20k.py \
        data/ADE20K_2021_17_01 \
        --out data/ADE20K_2021_17_01/entities_val.json
    python tools/dataset_converters/ade20k.py \
        data/ADE20K_2021_17_01 --levels all \
        --out data/ADE20K_2021_17_01/forest_val.json

    python tools/test.py configs/datasets/ade20k.py CKPT

with the model of configs/sohes_phase2.py. Elsewhere: --cfg-options
data_root=DIR/.
"""
_base_ = ['../sohes_phase2.py']

data_root = 'data/ADE20K_2021_17_01/'
ann_file = 'entities_val.json'
test_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file=ann_file,
        data_prefix=dict(img='')))
test_evaluator = [
    dict(type='sohes.EntityMetric', ann_file=data_root + ann_file),
    dict(type='sohes.ForestMetric', ann_file=data_root + 'forest_val.json')
]
