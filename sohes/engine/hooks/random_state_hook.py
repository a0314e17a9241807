"""A resumed run is the run that was never interrupted."""
from collections.abc import Iterator
from typing import Any

from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from sohes.registry import HOOKS
from sohes.utils.random_state import get_random_state, set_random_state


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Saves the random generators with the checkpoint and puts them back.

    mmengine's checkpoints hold the weights, the optimizer and the schedules,
    but no random state, so a resumed run drops other paths and samples other
    points. Here the state of Python's, numpy's and torch's generators (CPU
    and CUDA) of every process goes into the checkpoint, under
    ``random_state``. When an iteration-based run is resumed, the data go on
    at the place where they were, without loading what was seen, if the
    sampler can ``skip`` as :class:`sohes.datasets.ResumableSampler` does.

    Validation leaves the generators as it finds them: otherwise a run that
    is resumed right before it would differ from one that went through it.
    """
    # After what changes the state, before CheckpointHook (VERY_LOW) saves.
    priority = 'LOW'

    def __init__(self) -> None:
        self._states: list[dict[str, Any]] | None = None
        self._before_val: dict[str, Any] | None = None
        self._saved: dict[str, Any] | None = None

    def after_train_iter(self, runner: Runner, batch_idx: int,
                         data_batch: Any = None,
                         outputs: dict | None = None) -> None:
        """Gather the states when a checkpoint is about to be written.

        Only rank 0 saves, so it has to know the others' states before.
        """
        if any(_saves_now(hook, runner) for hook in runner.hooks):
            self._states = all_gather_object(get_random_state())

    def before_val(self, runner: Runner) -> None:
        """Remember the states; the best checkpoint is saved from here."""
        self._before_val = get_random_state()
        self._states = all_gather_object(self._before_val)

    def after_val(self, runner: Runner) -> None:
        """Put the states back to where training left them."""
        if self._before_val is not None:
            set_random_state(self._before_val)
            self._before_val = None

    def before_save_checkpoint(self, runner: Runner,
                               checkpoint: dict) -> None:
        """Add the states of all processes to the checkpoint."""
        if self._states is not None:
            sampler = runner.train_dataloader.sampler
            checkpoint['random_state'] = dict(
                ranks=self._states,
                sampler_seed=getattr(sampler, 'seed', None))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take the states out of the checkpoint."""
        self._saved = checkpoint.get('random_state')

    def before_train(self, runner: Runner) -> None:
        """Continue where the checkpoint was saved, if this is a resume."""
        saved, self._saved = self._saved, None
        if runner.iter == 0:
            return  # weights were loaded for a new run
        state = None
        if saved is None:
            runner.logger.warning(
                'the checkpoint has no random state: this run continues, but '
                'not as the uninterrupted run would have')
        elif len(saved['ranks']) != get_world_size():
            runner.logger.warning(
                f'the checkpoint is of {len(saved["ranks"])} processes, this '
                f'run has {get_world_size()}: it continues, but not as the '
                'uninterrupted run would have')
        else:
            state = saved['ranks'][get_rank()]
        loader, loop = runner.train_dataloader, runner.train_loop
        if saved is not None and saved['sampler_seed'] is not None:
            loader.sampler.seed = saved['sampler_seed']
        if (hasattr(loop, 'dataloader_iterator')
                and hasattr(loader.sampler, 'skip')):
            loader.sampler.skip(runner.iter * loader.batch_size)
            # The old one is dropped first: it may have worker processes.
            loop.dataloader_iterator = None
            loop.dataloader_iterator = _Continued(loader, runner.iter)
        # Making an iterator draws a random number, so the state comes last.
        if state is not None:
            set_random_state(state)


class _Continued:
    """Batches of a loader whose sampler has been put forward already.

    mmengine's loop also goes forward on resume, by ``skip_iter`` in its newer
    versions and by asking for batches in 0.10.7. Both must do nothing here.
    """

    def __init__(self, loader: Any, num_skipped: int) -> None:
        self._batches = iter(loader)
        self._num_skipped = num_skipped

    def skip_iter(self, num_iters: int) -> None:
        """Newer mmengine's way of going forward."""
        self._num_skipped = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._num_skipped > 0:
            self._num_skipped -= 1
            return None
        return next(self._batches)


def _saves_now(hook: Hook, runner: Runner) -> bool:
    """Whether a hook writes a checkpoint after this iteration."""
    if not isinstance(hook, CheckpointHook) or hook.by_epoch:
        return False
    return (hook.every_n_train_iters(runner, hook.interval, hook.save_begin)
            or hook.save_last and hook.is_last_train_iter(runner))
