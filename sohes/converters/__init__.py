"""From datasets as their authors publish them to one-class COCO jsons.

The commands are in tools/dataset_converters/, docs/datasets.md says where the
files come from.
"""
