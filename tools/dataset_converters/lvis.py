"""LVIS v1's instances as one class.

    python tools/dataset_converters/lvis.py \
        data/coco/annotations/lvis_v1_val.json \
        --out data/coco/entities_lvis_v1_val.json

Its images are in COCO's folders train2017 and val2017, which the file names
of the output begin with. Which categories were annotated exhaustively in an
image plays no part without classes. docs/datasets.md has more.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

from sohes.converters.coco_kinds import LVIS
from sohes.converters.command import run_coco_like

if __name__ == '__main__':
    sys.exit(run_coco_like(LVIS, __doc__))
