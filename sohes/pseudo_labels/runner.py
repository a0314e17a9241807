"""A run over a folder: the ViT here, the rest in a pool, resumable."""
import functools
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sohes.pseudo_labels.images import load_image
from sohes.pseudo_labels.methods import LabelOptions, finish, propose
from sohes.pseudo_labels.pipeline import FeatureExtractor
from sohes.pseudo_labels.shards import ShardFolder, failed_record, to_record
from sohes.structures import EntityForest
from sohes.utils.errors import ImageError
from sohes.utils.photo_files import photo_hash


@dataclass(frozen=True)
class Job:
    """What a worker needs to finish an image."""
    name: str
    options: LabelOptions
    sha256: str | None = None


@dataclass
class _Image:
    """An image on its way through the run.

    Attributes:
        shard (int): it belongs to.
        name (str): relative to the folder.
        pixels (np.ndarray, optional): (H, W, 3) uint8, while a picture of it
            is to be drawn.
        finished (Future or tuple): what `_finish_job` returns.
        drawn (Future or float, optional): what `_draw_picture` returns.
    """
    shard: int
    name: str
    pixels: np.ndarray | None
    finished: Any
    drawn: Any = None


def _finish_job(job: Job, image: np.ndarray,
                proposals: Any) -> tuple[dict, EntityForest, float]:
    """Steps 3 and 4 of one image, in a worker process, and their seconds."""
    started = time.perf_counter()
    labels = finish(image, proposals, job.options)
    spent = time.perf_counter() - started
    return to_record(job.name, labels, job.sha256), labels.forest, spent


def _draw_picture(folder: str, record: dict, image: np.ndarray,
                  forest: EntityForest) -> float:
    """The picture of one image, in a process of its own, and its seconds."""
    from sohes.visualization import save_forest_picture
    started = time.perf_counter()
    save_forest_picture(folder, record['file_name'], image, [
        annotation['segmentation'] for annotation in record['annotations']
    ], forest)
    return time.perf_counter() - started


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


def _quiet_worker(niceness: int = 0) -> None:
    """One thread a worker, Ctrl-C left to the parent, and no life without it.

    A pool's workers hold both ends of the pipe they wait at, so nothing tells
    them that their parent was killed.

    Args:
        niceness (int): how much the worker stands back behind other
            processes, 0 to 19.
    """
    import signal
    import sys
    import threading

    import cv2
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, 'nice'):
        os.nice(niceness)
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
        options (LabelOptions): all values.
        workers (int): processes for steps 3 and 4; 0 does all in this one.
            Pictures are drawn in others, one for four of these, that stand
            back behind them.
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
                 options: LabelOptions,
                 workers: int = 0,
                 strict: bool = False,
                 show_dir: str | None = None,
                 on_image: Callable[[str, dict], None] | None = None) -> None:
        self.root = root
        self.shards = shards
        self.extractor = extractor
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
        with ExitStack() as stack:
            pools = [
                stack.enter_context(_pool(count, niceness))
                for count, niceness in ((self.workers, 0),
                                        (self._drawers(), 10)) if count
            ]
            try:
                self._run(mine, names, *pools)
            except BaseException:
                for pool in pools:
                    pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _drawers(self) -> int:
        """Processes that draw pictures."""
        return 0 if self.show_dir is None else -(-self.workers // 4)

    def _run(self, mine: Sequence[int], names: Sequence[str],
             pool: ProcessPoolExecutor | None,
             drawers: ProcessPoolExecutor | None = None) -> None:
        """Feed the pools; settle images in order, a few behind."""
        feed = _ahead(self.root, names, count=2)
        refining: deque[_Image] = deque()
        drawing: deque[_Image] = deque()
        self._records: list[dict] = []

        def advance(most_refining: int, most_drawing: int) -> None:
            while refining and (len(refining) > most_refining
                                or _is_done(refining[0].finished)):
                drawing.append(self._draw(refining.popleft(), drawers))
            while drawing and (len(drawing) > most_drawing
                               or _is_done(drawing[0].drawn)):
                self._settle(drawing.popleft())

        for shard in mine:
            for _ in self.shards.images_of(shard):
                refining.append(self._start(shard, *next(feed), pool))
                advance(2 * self.workers, 2 * self._drawers())
        advance(0, 0)

    def _start(self, shard: int, name: str, image: np.ndarray | ImageError,
               sha256: str | None,
               pool: ProcessPoolExecutor | None) -> _Image:
        """Steps 1 and 2 here; steps 3 and 4 of the image are under way."""
        if isinstance(image, ImageError):
            if self.strict:
                raise image
            record = failed_record(name, str(image), sha256)
            return _Image(shard, name, None, (record, None, 0.0))
        started, vit = time.perf_counter(), self.seconds['ViT']
        proposals = propose(image, _Timed(self.extractor, self.seconds),
                            self.options)
        self.seconds['clustering'] += (time.perf_counter() - started -
                                       (self.seconds['ViT'] - vit))
        run = (_finish_job if pool is None else functools.partial(
            pool.submit, _finish_job))
        return _Image(
            shard, name, None if self.show_dir is None else image,
            run(Job(name, self.options, sha256), image, proposals))

    def _draw(self, image: _Image,
              drawers: ProcessPoolExecutor | None) -> _Image:
        """The labels are there; the picture of the image is under way."""
        with _says_which(image.name, 'steps 3 and 4'):
            image.finished = _result(image.finished)
        if image.pixels is not None:
            record, forest, _ = image.finished
            run = (_draw_picture if drawers is None else functools.partial(
                drawers.submit, _draw_picture))
            with _says_which(image.name, 'the picture'):
                image.drawn = run(self.show_dir, record, image.pixels, forest)
            image.pixels = None
        return image

    def _settle(self, image: _Image) -> None:
        """Take in one image; the last of a shard writes the shard.

        A shard has its pictures: a run that goes on draws none of it again.
        """
        with _says_which(image.name, 'the picture'):
            self.seconds['pictures'] += _result(image.drawn) or 0.0
        record, _, seconds = image.finished
        self.seconds['refinement and hierarchy'] += seconds
        self._records.append(record)
        if len(self._records) == len(self.shards.images_of(image.shard)):
            self.shards.write(image.shard, self._records)
            self._records = []
        self.on_image(image.name, record)


def _pool(count: int, niceness: int) -> ProcessPoolExecutor:
    """Processes that are spawned, not forked: a fork of one that runs OpenMP
    hangs.
    """
    return ProcessPoolExecutor(count, multiprocessing.get_context('spawn'),
                               _quiet_worker, (niceness, ))


def _is_done(result: Any) -> bool:
    return not isinstance(result, Future) or result.done()


def _result(result: Any) -> Any:
    return result.result() if isinstance(result, Future) else result


@contextmanager
def _says_which(name: str, what: str) -> Iterator[None]:
    """Name the photo in an error that comes without it."""
    try:
        yield
    except (OSError, MemoryError, BrokenProcessPool):
        raise  # the machine's fault, not the photo's
    except Exception as error:
        raise RuntimeError(f'{name}: {what} failed: {error!r}') from error


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
