#!/usr/bin/env bash
# Train on a slurm cluster, such as the paper's 8 machines of 8 GPUs:
#   GPUS=64 tools/slurm_train.sh PARTITION JOB_NAME configs/sohes_phase2.py DIR
set -euo pipefail
USAGE='usage: slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [OPTIONS]'
PARTITION=${1:?$USAGE}
JOB_NAME=${2:?$USAGE}
CONFIG=${3:?$USAGE}
WORK_DIR=${4:?$USAGE}
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
    python -u "$HERE/train.py" "$CONFIG" --work-dir "$WORK_DIR" "${@:5}" \
    --launcher slurm
