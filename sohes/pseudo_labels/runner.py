"""A run over photos: the ViT here, the rest in processes beside it."""
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sohes.pseudo_labels.images import load_image
from sohes.pseudo_labels.methods import LabelOptions, finish, propose
from sohes.pseudo_labels.pipeline import FeatureExtractor
from sohes.pseudo_labels.shards import failed_record, to_record
from sohes.structures import EntityForest
from sohes.utils.errors import ImageError
from sohes.utils.photo_files import photo_hash
from sohes.utils.workers import says_which, worker_pool


@dataclass(frozen=True)
class LabelledPhoto:
    """A photo that the runner is done with.

    Attributes:
        record (dict): its labels, see `to_record`; or why there are none,
            see `failed_record`.
        pixels (np.ndarray, optional): (H, W, 3) uint8 RGB; None: it could
            not be read.
        forest (EntityForest, optional): of the record's masks; likewise.
    """
    record: dict
    pixels: np.ndarray | None = None
    forest: EntityForest | None = None


def _finish_photo(name: str, sha256: str | None, image: np.ndarray,
                  proposals: Any, options: LabelOptions
                  ) -> tuple[dict, EntityForest, float]:
    """Steps 3 and 4 of one photo, in a worker process, and their seconds."""
    started = time.perf_counter()
    labels = finish(image, proposals, options)
    spent = time.perf_counter() - started
    return to_record(name, labels, sha256), labels.forest, spent


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
    """Label photos of a folder, one after the other.

    Args:
        root (str): the folder.
        extractor (callable): (images, size) -> (B, h, w, C) float32.
        options (LabelOptions): all values.
        workers (int): processes for steps 3 and 4; 0 does all in this one.
        strict (bool): a broken photo stops the run.

    Attributes:
        seconds (dict): wall seconds by step, of all processes together.
    """

    def __init__(self,
                 root: str,
                 extractor: FeatureExtractor,
                 options: LabelOptions,
                 workers: int = 0,
                 strict: bool = False) -> None:
        self.root = root
        self.extractor = extractor
        self.options = options
        self.workers = workers
        self.strict = strict
        self.seconds = dict.fromkeys(
            ('ViT', 'clustering', 'refinement and hierarchy'), 0.0)

    def run(self, names: Sequence[str],
            take: Callable[[LabelledPhoto], None]) -> None:
        """Label photos.

        Args:
            names (Sequence[str]): relative to the folder.
            take (callable): called with each photo, in order, a few behind
                the one that the ViT looks at.

        Raises:
            ImageError: for the first broken photo, if `strict`.
        """
        under_way: deque[tuple[str, np.ndarray | None, Future]] = deque()
        with worker_pool(self.workers) as pool:
            for name, image, sha256 in _ahead(self.root, names, count=2):
                under_way.append(self._start(name, image, sha256, pool))
                while under_way and (len(under_way) > 2 * self.workers
                                     or under_way[0][-1].done()):
                    take(self._labelled(*under_way.popleft()))
            while under_way:
                take(self._labelled(*under_way.popleft()))

    def _start(self, name: str, image: np.ndarray | ImageError,
               sha256: str | None, pool: Executor) -> tuple:
        """Steps 1 and 2 here; steps 3 and 4 of the photo are under way."""
        if isinstance(image, ImageError):
            if self.strict:
                raise image
            failed = Future()
            failed.set_result(
                (failed_record(name, str(image), sha256), None, 0.0))
            return name, None, failed
        started, vit = time.perf_counter(), self.seconds['ViT']
        proposals = propose(image, _Timed(self.extractor, self.seconds),
                            self.options)
        self.seconds['clustering'] += (time.perf_counter() - started -
                                       (self.seconds['ViT'] - vit))
        return name, image, pool.submit(_finish_photo, name, sha256, image,
                                        proposals, self.options)

    def _labelled(self, name: str, image: np.ndarray | None,
                  finished: Future) -> LabelledPhoto:
        """Wait for steps 3 and 4 of a photo."""
        with says_which(name, 'steps 3 and 4'):
            record, forest, seconds = finished.result()
        self.seconds['refinement and hierarchy'] += seconds
        return LabelledPhoto(record, image, forest)


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
