#!/usr/bin/env bash
# Evaluate on N processes of this machine, or of several machines:
#   tools/dist_test.sh CONFIG CKPT 8 ...
# For several machines start it on each with NNODES, NODE_RANK, MASTER_ADDR
# (and PORT) set; N is the number on each.
. "$(dirname "${BASH_SOURCE[0]}")/_launch.sh"
CONFIG=${1:?usage: dist_test.sh CONFIG CKPT N [OPTIONS OF test.py]}
CKPT=${2:?usage: dist_test.sh CONFIG CKPT N [OPTIONS OF test.py]}
GPUS=${3:?usage: dist_test.sh CONFIG CKPT N [OPTIONS OF test.py]}
launch_dist "$GPUS" test.py "$CONFIG" "$CKPT" "${@:4}"
