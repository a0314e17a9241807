"""What becomes of a photo that Phase 1 has labelled."""
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future

import numpy as np

from sohes.pseudo_labels.runner import LabelledPhoto
from sohes.pseudo_labels.shards import ShardFolder
from sohes.structures import EntityForest
from sohes.utils.workers import says_which


class LabelWriter:
    """Draws a picture of each photo, and writes the shards.

    A shard is written once its pictures are drawn, so a run that goes on
    draws none of them again.

    Args:
        shards: where the labels go.
        numbers: of the shards to write; their photos come in this order.
        on_photo: called with the record of each photo that is done with.
        show_dir: the pictures go there; None: no pictures.
        drawers: draws them; see :func:`~sohes.utils.workers.worker_pool`.
        ahead: photos that may wait for their pictures.

    Attributes:
        seconds: that the pictures took, of all processes together.
    """

    def __init__(self, shards: ShardFolder, numbers: Sequence[int],
                 on_photo: Callable[[dict], None], show_dir: str | None,
                 drawers: Executor, ahead: int) -> None:
        self.shards = shards
        self.on_photo = on_photo
        self.show_dir = show_dir
        self.drawers = drawers
        self.ahead = ahead
        self.seconds = 0.0
        self._numbers = deque(numbers)
        self._drawing: deque[tuple[dict, Future | None]] = deque()
        self._records: list[dict] = []

    def take(self, photo: LabelledPhoto) -> None:
        """Take in the next photo."""
        drawn = None
        if self.show_dir is not None and photo.pixels is not None:
            drawn = self.drawers.submit(_draw_picture, self.show_dir,
                                        photo.record, photo.pixels,
                                        photo.forest)
        self._drawing.append((photo.record, drawn))
        self._settle(self.ahead)

    def finish(self) -> None:
        """Wait for the pictures; all photos are in."""
        self._settle(0)

    def _settle(self, most: int) -> None:
        """Be done with photos until at most so many wait."""
        while self._drawing:
            record, drawn = self._drawing[0]
            if drawn is not None:
                if len(self._drawing) <= most and not drawn.done():
                    return
                with says_which(record['file_name'], 'the picture'):
                    self.seconds += drawn.result()
            self._drawing.popleft()
            self._keep(record)

    def _keep(self, record: dict) -> None:
        """The last record of a shard writes the shard."""
        number = self._numbers[0]
        self._records.append(record)
        if len(self._records) == len(self.shards.images_of(number)):
            self.shards.write(number, self._records)
            self._records = []
            self._numbers.popleft()
        self.on_photo(record)


def _draw_picture(folder: str, record: dict, image: np.ndarray,
                  forest: EntityForest) -> float:
    """The picture of a photo, and the seconds that it took."""
    from sohes.visualization import save_forest_picture
    started = time.perf_counter()
    save_forest_picture(folder, record['file_name'], image, [
        annotation['segmentation'] for annotation in record['annotations']
    ], forest)
    return time.perf_counter() - started
