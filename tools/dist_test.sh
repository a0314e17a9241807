#!/usr/bin/env bash
# Evaluate on N processes of this machine, or of several machines:
#   tools/dist_test.sh CONFIG CKPT 8 ...
# For several machines start it on each with NNODES, NODE_RANK, MASTER_ADDR
# (and PORT) set; N is the number on each.
set -euo pipefail
CONFIG=${1:?usage: dist_test.sh CONFIG CKPT N [OPTIONS OF test.py]}
CKPT=${2:?usage: dist_test.sh CONFIG CKPT N [OPTIONS OF test.py]}
GPUS=${3:?usage: dist_test.sh CONFIG CKPT N [OPTIONS OF test.py]}
HERE=$(cd "$(dirname "$0")" && pwd)
PYTHONPATH="$HERE/..${PYTHONPATH:+:$PYTHONPATH}" \
python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$GPUS" \
    "$HERE/test.py" "$CONFIG" "$CKPT" "${@:4}" --launcher pytorch
