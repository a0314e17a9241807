"""Programs of a checkout say how to get where they can run."""
import importlib.util
import sys


def check_environment() -> None:
    """Leave with one sentence where this Python has no mmengine.

    Called by the programs of tools/, demo/ and benchmarks/ before they
    import anything that is not Python's own.
    """
    if importlib.util.find_spec('mmengine') is not None:
        return
    print(
        f'error: {sys.executable} has no mmengine; in the checkout type '
        '"source .venv/bin/activate" first (make demo, or make ops for '
        'training, makes that environment), or install sohes into one of '
        'your own with pip install -e ".[onedl]"',
        file=sys.stderr)
    sys.exit(2)
