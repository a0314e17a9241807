#!/usr/bin/env bash
# Train on a slurm cluster, such as the paper's 8 machines of 8 GPUs:
#   GPUS=64 tools/slurm_train.sh PARTITION JOB_NAME configs/sohes_phase2.py DIR
. "$(dirname "${BASH_SOURCE[0]}")/_launch.sh"
USAGE='usage: slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [OPTIONS]'
launch_slurm "${1:?$USAGE}" "${2:?$USAGE}" train.py "${3:?$USAGE}" \
    --work-dir "${4:?$USAGE}" "${@:5}"
