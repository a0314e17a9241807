"""Samples that depend on the draw of the run and on nothing else."""
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.dataset import BaseDataset

from sohes.utils.errors import ImageError
from sohes.utils.photo_files import read_names
from sohes.utils.random_state import seeded_random


class SeededDataset(BaseDataset):
    """mmengine's dataset, with augmentations that a resumed run repeats.

    A sampler that yields ``Draw``, as ``sohes.ResumableSampler`` does, says
    which draw of the run a sample is. Python's, numpy's and torch's
    generators are then seeded from (seed of the run, number of the draw,
    index) while the sample is made, and put back after. With any other
    sampler, and inside mmengine's ``ConcatDataset``, which passes plain
    numbers on, they are as they are, as everywhere in mmengine.
    """

    def __getitem__(self, idx: int) -> Any:
        """The sample after the pipeline, see ``BaseDataset``."""
        entropy = getattr(idx, 'entropy', None)
        if entropy is None:
            return super().__getitem__(int(idx))
        with seeded_random(*map(int, entropy), int(idx)):
            return super().__getitem__(int(idx))

    def prepare_data(self, idx: int) -> Any:
        """See ``BaseDataset``; an error names the image."""
        with named(self.get_data_info(idx).get('img_path')):
            return super().prepare_data(idx)


def names_to_exclude(file: str | None, data_root: str | None) -> set[str]:
    """A json list of file names, to leave out; None: none.

    Args:
        file: relative to ``data_root``.

    Raises:
        FileError: it is no such list.
    """
    if file is None:
        return set()
    return set(read_names(os.path.join(data_root or '', file),
                          'exclude_file'))


@contextmanager
def named(path: str | None) -> Iterator[None]:
    """Let whatever goes wrong in a pipeline say of which image it is.

    Raises:
        ImageError: a transform failed.
    """
    try:
        yield
    except (ImageError, OSError, MemoryError):
        raise
    except Exception as error:  # OpenCV's has no more precise type
        reason = ' '.join(str(error).split())
        raise ImageError(
            f'{path}: the pipeline of the configuration failed: '
            f'{type(error).__name__}: {reason:.300}') from error
