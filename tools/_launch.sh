# Sourced by dist_*.sh and slurm_*.sh: how a script of this folder starts.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$HERE/..${PYTHONPATH:+:$PYTHONPATH}"

# launch_dist N SCRIPT ARGS...: N processes of this machine. For several
# machines start it on each with NNODES, NODE_RANK, MASTER_ADDR (and PORT).
# Ends with the exit code of the processes: torchrun itself knows 0 and 1 only,
# and reports whatever is not 0 as a crash.
launch_dist() {
  local code=0 found
  SOHES_EXIT_CODES=$(mktemp -d)
  export SOHES_EXIT_CODES
  torchrun_here "$@" || code=70
  found=$(ls "$SOHES_EXIT_CODES")
  rm -rf "$SOHES_EXIT_CODES"
  # 070 of one process stands above what the others made of it.
  [ -z "$found" ] || code=$((10#$(tail -n 1 <<<"$found")))
  return "$code"
}

torchrun_here() {
  python -m torch.distributed.run \
      --nnodes="${NNODES:-1}" \
      --node_rank="${NODE_RANK:-0}" \
      --master_addr="${MASTER_ADDR:-127.0.0.1}" \
      --master_port="${PORT:-29500}" \
      --nproc_per_node="$1" \
      "$HERE/$2" "${@:3}" --launcher pytorch
}

# launch_slurm PARTITION JOB_NAME SCRIPT ARGS...: GPUS tasks, GPUS_PER_NODE
# on a machine, with CPUS_PER_TASK cores each; SRUN_ARGS goes to srun.
launch_slurm() {
  local per_node=${GPUS_PER_NODE:-8}
  # shellcheck disable=SC2086
  srun -p "$1" --job-name="$2" \
      --gres="gpu:$per_node" --ntasks="${GPUS:-8}" \
      --ntasks-per-node="$per_node" \
      --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
      ${SRUN_ARGS:-} \
      python -u "$HERE/$3" "${@:4}" --launcher slurm
}
