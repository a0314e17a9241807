"""The teacher of Phase 3 follows the student."""
from typing import Any

from mmdet.engine.hooks import MeanTeacherHook
from mmengine.runner import Runner

from sohes.registry import HOOKS


@HOOKS.register_module()
class TeacherHook(MeanTeacherHook):
    """mmdet's moving average, of updates of the weights (section 3.3).

    ``teacher = (1 - momentum) * teacher + momentum * student``. Differs
    from mmdet's in three things:

    - With gradients added up over several iterations the teacher moves when
      the student has: mmdet's moves every iteration, several times as fast.
    - The teacher that a checkpoint brought is kept: mmdet's replaces it by
      the student at the start of every new run. Without ``load_from`` the
      two are made equal at the start.
    - Buffers, the running means and variances of batch norm, are averaged
      like the weights that they belong to. Integers, which count steps,
      are left alone.

    Args:
        momentum (float): of the student, in (0, 1); the paper's 0.9995 of
            the teacher is 0.0005 here.
        interval (int): iterations from one update to the next.
        skip_buffer (bool): leave the buffers alone too.

    Raises:
        ValueError: if ``momentum`` is not in (0, 1).
    """

    def __init__(self,
                 momentum: float = 0.0005,
                 interval: int = 1,
                 skip_buffer: bool = False) -> None:
        if not 0 < momentum < 1:
            raise ValueError("momentum, the student's, must be in (0, 1), "
                             f'got {momentum}')
        super().__init__(momentum, interval, skip_buffer)

    def before_train(self, runner: Runner) -> None:
        """Make teacher and student equal, if no checkpoint was loaded."""
        if not runner.cfg.get('load_from'):
            super().before_train(runner)

    def after_train_iter(self, runner: Runner, batch_idx: int,
                         data_batch: Any = None,
                         outputs: dict | None = None) -> None:
        """Move the teacher, if the student has just been updated."""
        if runner.optim_wrapper.should_update():
            super().after_train_iter(runner, batch_idx, data_batch, outputs)
