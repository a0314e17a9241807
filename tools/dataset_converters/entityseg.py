"""EntitySeg's entities as one class.

    python tools/dataset_converters/entityseg.py \
        data/entityseg/entityseg_val_lr.json \
        --out data/entityseg/entities_val_lr.json

Takes the entity jsons (any resolution), not the panoptic or instance ones,
which hold only the frequent classes. docs/datasets.md has more.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

from sohes.converters.coco_kinds import ENTITYSEG
from sohes.converters.command import run_coco_like

if __name__ == '__main__':
    sys.exit(run_coco_like(ENTITYSEG, __doc__))
