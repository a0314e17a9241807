"""An endless sampler that can start anywhere."""
from collections.abc import Iterator, Sized

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from sohes.registry import DATA_SAMPLERS


class Draw(int):
    """An index into a dataset that knows which draw of the run it is.

    A dataset that knows nothing of draws takes it as the index it is. One
    that augments seeds its random generators from :attr:`entropy`, so that
    the sample depends neither on the number of workers nor on where the run
    was interrupted.

    Attributes:
        entropy (tuple[int, ...]): The run's seed and the number of the draw,
            counted from 0 over all processes; more where a draw is of
            several images.
    """
    entropy: tuple[int, ...]

    def __new__(cls, index: int, entropy: tuple[int, ...]) -> 'Draw':
        self = super().__new__(cls, index)
        self.entropy = entropy
        return self

    def __getnewargs__(self) -> tuple[int, tuple[int, ...]]:
        return int(self), self.entropy


@DATA_SAMPLERS.register_module()
class ResumableSampler(Sampler):
    """Endless shuffled passes over a dataset, dealt to the processes in turn.

    Draw number d of the run is the same image whatever the number of
    processes, and is found without going through those before it: the pass
    d // N has a permutation of its own, seeded by the seed and the pass.
    mmengine's ``InfiniteSampler`` draws its passes from one generator, and in
    mmengine 0.10 restarts from the first when a run is resumed.

    Args:
        dataset (Sized): N images.
        shuffle (bool): False: every pass in the dataset's order.
        seed (int, optional): The same on all processes; None: rank 0 rolls
            one.

    Raises:
        ValueError: if the dataset is empty.
    """

    def __init__(self,
                 dataset: Sized,
                 shuffle: bool = True,
                 seed: int | None = None) -> None:
        self.rank, self.world_size = get_dist_info()
        self.size = len(dataset)
        if self.size == 0:
            raise ValueError('the dataset has no image to train on')
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.start = 0

    def skip(self, num_samples: int) -> None:
        """Let the next iteration start later.

        Args:
            num_samples (int): Samples of this process to leave out, counted
                from the beginning of the run.

        Raises:
            ValueError: if it is negative.
        """
        if num_samples < 0:
            raise ValueError(f'cannot skip {num_samples} samples')
        self.start = num_samples

    def __iter__(self) -> Iterator[Draw]:
        draw = self.start * self.world_size + self.rank
        current, order = -1, None
        while True:
            if draw // self.size != current:
                current = draw // self.size
                order = self._order(current)
            yield Draw(order[draw % self.size], (self.seed, draw))
            draw += self.world_size

    def _order(self, number: int) -> np.ndarray:
        """The order of one pass, (N, ) int."""
        if not self.shuffle:
            return np.arange(self.size)
        return np.random.default_rng(
            (self.seed, number)).permutation(self.size)

    def __len__(self) -> int:
        """Images in the dataset: the stream itself does not end."""
        return self.size
