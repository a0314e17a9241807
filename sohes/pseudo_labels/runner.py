"""A run over a folder: the ViT here, the rest in a pool, resumable."""
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sohes.pseudo_labels.images import ImageError, load_image
from sohes.pseudo_labels.methods import LabelOptions, finish, propose
from sohes.pseudo_labels.pipeline import FeatureExtractor
from sohes.pseudo_labels.shards import ShardFolder, failed_record, to_record
from sohes.utils.photo_files import photo_hash


@dataclass(frozen=True)
class Job:
    """What a worker needs to finish an image."""
    root: str
    name: str
    options: LabelOptions
    show_dir: str | None = None
    sha256: str | None = None


def _finish_job(job: Job, image: np.ndarray,
                proposals: Any) -> tuple[dict[str, Any], dict[str, float]]:
    """Steps 3 and 4 of one image, in a worker process, and their seconds."""
    started = time.perf_counter()
    labels = finish(image, proposals, job.options)
    finished = time.perf_counter()
    if job.show_dir is not None:
        from sohes.visualization import save_forest_picture
        save_forest_picture(job.show_dir, job.name, image, labels.rles,
                            labels.forest)
    return to_record(job.name, labels, job.sha256), {
        'refinement and hierarchy': finished - started,
        'pictures': time.perf_counter() - finished
    }


def _load(root: str,
          name: str) -> tuple[np.ndarray | ImageError, str | None]:
    """An image, or why there is none, and the hash of its file."""
    path = Path(root) / name
    # First: a photo that is replaced now is found out by the next run.
    sha256 = photo_hash(path)
    try:
        return load_image(path), sha256
    except ImageError as error:
        return error, sha256


def _quiet_worker() -> None:
    """One thread a worker, Ctrl-C left to the parent, and no life without it.

    A pool's workers hold both ends of the pipe they wait at, so nothing tells
    them that their parent was killed.
    """
    import signal
    import sys
    import threading

    import cv2
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    # For CascadePSP's torch, whether it is here already or comes later.
    os.environ['OMP_NUM_THREADS'] = '1'
    if 'torch' in sys.modules:
        sys.modules['torch'].set_num_threads(1)


def _end_with_the_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _ahead(root: str, names: Sequence[str],
           count: int) -> Iterator[tuple]:
    """Load images in order, a few ahead, in threads; with their names."""
    with ThreadPoolExecutor(count) as pool:
        waiting: list[Future] = []
        todo = iter(names)
        for name in names:
            while len(waiting) <= count:
                upcoming = next(todo, None)
                if upcoming is None:
                    break
                waiting.append(pool.submit(_load, root, upcoming))
            yield name, *waiting.pop(0).result()


class LabelRunner:
    """Label the images of a folder, shard by shard.

    Args:
        root (str): the folder of images.
        shards (ShardFolder): where the labels go.
        extractor (callable): (images, size) -> (B, h, w, C) float32.
        thresholds (Sequence[float]): strictly falling.
        options (LabelOptions): all other values.
        workers (int): processes for steps 3 and 4; 0 does all in this one.
        strict (bool): a broken image stops the run.
        show_dir (str, optional): a picture of every image goes there.
        on_image (callable, optional): called with (name, record).

    Attributes:
        seconds (dict): wall seconds by step, of all processes together.
    """

    def __init__(self,
                 root: str,
                 shards: ShardFolder,
                 extractor: FeatureExtractor,
                 thresholds: Sequence[float],
                 options: LabelOptions,
                 workers: int = 0,
                 strict: bool = False,
                 show_dir: str | None = None,
                 on_image: Callable[[str, dict], None] | None = None) -> None:
        self.root = root
        self.shards = shards
        self.extractor = extractor
        self.thresholds = thresholds
        self.options = options
        self.workers = workers
        self.strict = strict
        self.show_dir = show_dir
        self.on_image = on_image or (lambda name, record: None)
        self.seconds = dict.fromkeys(
            ('ViT', 'clustering', 'refinement and hierarchy', 'pictures'),
            0.0)

    def run(self, rank: int = 0, world_size: int = 1) -> None:
        """Label the shards of one rank that are not whole yet.

        Raises:
            ImageError: for the first broken image, if `strict`.
        """
        mine = [
            shard for shard in range(rank, len(self.shards), world_size)
            if not self.shards.is_done(shard)
        ]
        if not mine:
            return
        names = [n for s in mine for n in self.shards.images_of(s)]
        if self.workers == 0:
            self._run(mine, names, None)
            return
        # Spawned, not forked: a fork of a process that runs OpenMP hangs.
        context = multiprocessing.get_context('spawn')
        with ProcessPoolExecutor(self.workers, context,
                                 _quiet_worker) as pool:
            try:
                self._run(mine, names, pool)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _run(self, mine: Sequence[int], names: Sequence[str],
             pool: ProcessPoolExecutor | None) -> None:
        """Feed the pool; settle images in order, a few behind."""
        feed = _ahead(self.root, names, count=2)
        queue: deque = deque()
        self._records: list[dict] = []
        for shard in mine:
            for _ in self.shards.images_of(shard):
                name, image, sha256 = next(feed)
                queue.append((shard, name,
                              self._start(name, image, sha256, pool)))
                if len(queue) > 2 * self.workers:
                    self._settle(*queue.popleft())
        while queue:
            self._settle(*queue.popleft())

    def _settle(self, shard: int, name: str, result: Any) -> None:
        """Take in one image; the last of a shard writes the shard."""
        try:
            record, seconds = (result.result() if isinstance(
                result, Future) else result)
        except (OSError, MemoryError, BrokenProcessPool):
            raise  # the machine's fault, not the photo's
        except Exception as error:
            raise RuntimeError(f'{name}: steps 3 and 4 failed: {error!r}'
                               ) from error
        for step, spent in seconds.items():
            self.seconds[step] += spent
        self._records.append(record)
        if len(self._records) == len(self.shards.images_of(shard)):
            self.shards.write(shard, self._records)
            self._records = []
        self.on_image(name, record)

    def _start(self, name: str, image: np.ndarray | ImageError,
               sha256: str | None, pool: ProcessPoolExecutor | None) -> Any:
        """Steps 1 and 2 here; steps 3 and 4 of the image are under way."""
        if isinstance(image, ImageError):
            if self.strict:
                raise image
            return failed_record(name, str(image), sha256), {}
        started, vit = time.perf_counter(), self.seconds['ViT']
        proposals = propose(image, _Timed(self.extractor, self.seconds),
                            self.thresholds, self.options)
        self.seconds['clustering'] += (time.perf_counter() - started -
                                       (self.seconds['ViT'] - vit))
        job = Job(self.root, name, self.options, self.show_dir, sha256)
        if pool is None:
            return _finish_job(job, image, proposals)
        return pool.submit(_finish_job, job, image, proposals)


class _Timed:
    """A feature extractor that adds up its seconds."""

    def __init__(self, extractor: FeatureExtractor,
                 seconds: dict[str, float]) -> None:
        self.extractor = extractor
        self.seconds = seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self.extractor, name)

    def __call__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        started = time.perf_counter()
        try:
            return self.extractor(*args, **kwargs)
        finally:
            self.seconds['ViT'] += time.perf_counter() - started
