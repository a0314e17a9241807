#!/usr/bin/env bash
# Phase 1 on several processes of this machine, or of several machines:
#   tools/dist_generate.sh CONFIG N --img-dir PHOTOS --out labels.json ...
# For several machines start it on each with NNODES, NODE_RANK, MASTER_ADDR
# (and PORT) set; they share the folder of --out.
set -euo pipefail
CONFIG=${1:?usage: dist_generate.sh CONFIG N --img-dir DIR --out JSON ...}
GPUS=${2:?usage: dist_generate.sh CONFIG N --img-dir DIR --out JSON ...}
HERE=$(cd "$(dirname "$0")" && pwd)
PYTHONPATH="$HERE/..${PYTHONPATH:+:$PYTHONPATH}" \
python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$GPUS" \
    "$HERE/generate_pseudo_labels.py" "$CONFIG" "${@:3}" --launcher pytorch
