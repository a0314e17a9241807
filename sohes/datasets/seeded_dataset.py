"""Samples that depend on the draw of the run and on nothing else."""
from typing import Any

from mmengine.dataset import BaseDataset

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
