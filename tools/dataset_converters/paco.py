"""PACO-LVIS's objects and their parts as one class, with the forest.

    python tools/dataset_converters/paco.py \
        data/paco/annotations/paco_lvis_v1_val.json \
        --out data/coco/entities_paco_lvis_v1_val.json

Its images are in COCO's folders train2017 and val2017, which the file names
begin with. docs/datasets.md has more.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

from sohes.converters.coco_kinds import PACO
from sohes.converters.command import run_coco_like

if __name__ == '__main__':
    sys.exit(run_coco_like(PACO, __doc__, both=True))
