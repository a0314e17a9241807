"""A hook that kills its run, the first time."""
import os
import signal
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module(force=True)
class KillOnce(Hook):
    """SIGKILL before iteration ``at``, from 1, unless ``marker`` is there."""

    def __init__(self, at: int, marker: str) -> None:
        self.at = at
        self.marker = Path(marker)

    def before_train_iter(self, runner: Any, batch_idx: int,
                          data_batch: Any = None) -> None:
        if runner.iter + 1 == self.at and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
