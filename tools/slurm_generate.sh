#!/usr/bin/env bash
# Phase 1 on a slurm cluster:
#   GPUS=16 tools/slurm_generate.sh PARTITION JOB_NAME CONFIG --img-dir ...
set -euo pipefail
PARTITION=${1:?usage: slurm_generate.sh PARTITION JOB_NAME CONFIG ...}
JOB_NAME=${2:?usage: slurm_generate.sh PARTITION JOB_NAME CONFIG ...}
CONFIG=${3:?usage: slurm_generate.sh PARTITION JOB_NAME CONFIG ...}
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
HERE=$(cd "$(dirname "$0")" && pwd)
# shellcheck disable=SC2086
PYTHONPATH="$HERE/..${PYTHONPATH:+:$PYTHONPATH}" \
srun -p "$PARTITION" --job-name="$JOB_NAME" \
    --gres="gpu:$GPUS_PER_NODE" --ntasks="$GPUS" \
    --ntasks-per-node="$GPUS_PER_NODE" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    python -u "$HERE/generate_pseudo_labels.py" "$CONFIG" "${@:4}" \
    --launcher slurm
