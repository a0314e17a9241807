#!/usr/bin/env bash
# Phase 1 on a slurm cluster:
#   GPUS=16 tools/slurm_generate.sh PARTITION JOB_NAME CONFIG --img-dir ...
. "$(dirname "${BASH_SOURCE[0]}")/_launch.sh"
USAGE='usage: slurm_generate.sh PARTITION JOB_NAME CONFIG --img-dir DIR ...'
launch_slurm "${1:?$USAGE}" "${2:?$USAGE}" generate_pseudo_labels.py \
    "${3:?$USAGE}" "${@:4}"
