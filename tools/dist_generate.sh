#!/usr/bin/env bash
# Phase 1 on several processes of this machine, or of several machines:
#   tools/dist_generate.sh CONFIG N --img-dir PHOTOS --out labels.json ...
# For several machines start it on each with NNODES, NODE_RANK, MASTER_ADDR
# (and PORT) set; they share the folder of --out.
. "$(dirname "${BASH_SOURCE[0]}")/_launch.sh"
CONFIG=${1:?usage: dist_generate.sh CONFIG N --img-dir DIR --out JSON ...}
GPUS=${2:?usage: dist_generate.sh CONFIG N --img-dir DIR --out JSON ...}
launch_dist "$GPUS" generate_pseudo_labels.py "$CONFIG" "${@:3}"
