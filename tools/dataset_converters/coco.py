"""COCO 2017's instances as one class, crowd regions as they are.

    python tools/dataset_converters/coco.py \
        data/coco/annotations/instances_val2017.json \
        --out data/coco/entities_val2017.json

docs/datasets.md says where the files come from.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

from sohes.converters.coco_kinds import COCO
from sohes.converters.command import run_coco_like

if __name__ == '__main__':
    sys.exit(run_coco_like(COCO, __doc__))
