"""PartImageNet's parts as one class.

    python tools/dataset_converters/partimagenet.py \
        data/partimagenet/val.json --out data/partimagenet/entities_val.json

The jsons of PartImageNet_OOD; those of PartImageNet_Seg hold sizes alone, and
PartImageNet++ is another dataset. docs/datasets.md has more.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

from sohes.converters.coco_kinds import PARTIMAGENET
from sohes.converters.command import run_coco_like

if __name__ == '__main__':
    sys.exit(run_coco_like(PARTIMAGENET, __doc__))
