#!/usr/bin/env bash
# Train on N processes of this machine, one a GPU; without GPUs on its CPUs:
#   tools/dist_train.sh configs/sohes_phase2.py 8 --work-dir DIR ...
# For several machines start it on each with NNODES, NODE_RANK, MASTER_ADDR
# (and PORT) set; N is the number on each.
. "$(dirname "${BASH_SOURCE[0]}")/_launch.sh"
CONFIG=${1:?usage: dist_train.sh CONFIG N [OPTIONS OF train.py]}
GPUS=${2:?usage: dist_train.sh CONFIG N [OPTIONS OF train.py]}
launch_dist "$GPUS" train.py "$CONFIG" "${@:3}"
