#!/usr/bin/env bash
# Train on N processes of this machine, one a GPU; without GPUs on its CPUs:
#   tools/dist_train.sh configs/sohes_phase2.py 8 --work-dir DIR ...
# For several machines start it on each with NNODES, NODE_RANK, MASTER_ADDR
# (and PORT) set; N is the number on each.
set -euo pipefail
CONFIG=${1:?usage: dist_train.sh CONFIG N [OPTIONS OF train.py]}
GPUS=${2:?usage: dist_train.sh CONFIG N [OPTIONS OF train.py]}
HERE=$(cd "$(dirname "$0")" && pwd)
PYTHONPATH="$HERE/..${PYTHONPATH:+:$PYTHONPATH}" \
python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$GPUS" \
    "$HERE/train.py" "$CONFIG" "${@:3}" --launcher pytorch
