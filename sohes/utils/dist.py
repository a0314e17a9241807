"""torch.distributed on machines with and without GPUs."""
import os
import time
from datetime import timedelta


def init_dist(launcher: str, timeout_hours: float = 24 * 14) -> None:
    """Start a gloo process group for a launcher that mmengine knows.

    mmengine's own start-up selects a CUDA device, which fails on a machine
    without one. Labels need no device to be shared, only ranks and a barrier,
    so the group is gloo everywhere; afterwards mmengine's ``get_dist_info``
    and ``barrier`` work as usual.

    Args:
        launcher (str): 'none', 'pytorch', 'slurm' or 'mpi'.
        timeout_hours (float): how long a rank waits for the others, hours.

    Raises:
        ValueError: if the launcher is unknown or its variables are not set.
    """
    if launcher == 'none':
        return
    import torch.distributed as torch_dist
    if torch_dist.is_initialized():  # by an earlier run of this process
        return
    names = dict(
        pytorch=('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
        slurm=('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
        mpi=('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE',
             'OMPI_COMM_WORLD_LOCAL_RANK'))
    if launcher not in names:
        raise ValueError(f'launcher {launcher!r} is not known; one of none, '
                         f'{", ".join(names)}')
    missing = [name for name in names[launcher] if name not in os.environ]
    if missing:
        raise ValueError(f'--launcher {launcher} needs {", ".join(missing)} '
                         'in the environment, which that launcher sets')
    for target, source in zip(names['pytorch'], names[launcher]):
        os.environ[target] = os.environ[source]
    os.environ.setdefault('MASTER_PORT', '29500')
    if 'MASTER_ADDR' not in os.environ:
        os.environ['MASTER_ADDR'] = _first_host()
    torch_dist.init_process_group(
        'gloo', timeout=timedelta(hours=timeout_hours))


def close_dist() -> None:
    """End the process group, if there is one, in all processes together.

    One that leaves while another's threads still talk to it can abort that
    other one after all its work is done. And torch 2.1 ends gloo's threads
    while it holds the interpreter's lock, which they may still want to let go
    of the last tensors: they get a moment to do so, or both wait for ever.
    """
    import torch.distributed as torch_dist
    if torch_dist.is_available() and torch_dist.is_initialized():
        torch_dist.barrier()
        time.sleep(0.5)
        torch_dist.destroy_process_group()


def _first_host() -> str:
    """The first of slurm's nodes, or this machine."""
    nodes = os.environ.get('SLURM_NODELIST')
    if not nodes:
        return '127.0.0.1'
    import subprocess
    return subprocess.run(['scontrol', 'show', 'hostname', nodes],
                          check=True, capture_output=True,
                          text=True).stdout.split()[0]
