#!/usr/bin/env bash
# Evaluate on a slurm cluster:
#   GPUS=8 tools/slurm_test.sh PARTITION JOB_NAME CONFIG CKPT ...
. "$(dirname "${BASH_SOURCE[0]}")/_launch.sh"
USAGE='usage: slurm_test.sh PARTITION JOB_NAME CONFIG CKPT [OPTIONS]'
launch_slurm "${1:?$USAGE}" "${2:?$USAGE}" test.py "${3:?$USAGE}" \
    "${4:?$USAGE}" "${@:5}"
