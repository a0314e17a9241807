"""A refiner whose process is killed, the first time."""
import os
import signal
from pathlib import Path
from typing import Any

from sohes.pseudo_labels.refinement import NoRefiner


class KillingRefiner(NoRefiner):
    """SIGKILL unless the file that KILLED_ONCE names is there."""

    def __call__(self, *args: Any) -> Any:
        marker = Path(os.environ['KILLED_ONCE'])
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(*args)
