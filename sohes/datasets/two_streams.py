"""The two image batches of Phase 3 from one loader."""
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from sohes.datasets.samplers import Draw
from sohes.registry import DATASETS


@DATASETS.register_module()
class TwoStreamDataset(Dataset):
    """Pairs an image with pseudo-labels, I1, with a raw one, I2.

    Its length is that of the labelled images; to each comes one of the
    unlabelled, drawn uniformly. With ``sohes.ResumableSampler`` that one and
    its augmentation depend on the seed of the run and the number of the draw
    alone, so a resumed run sees the same pairs; and I1 is the same, and
    augmented in the same way, as without I2.

    A sample has the branches that mmdet's ``SemiBaseDetector`` and
    ``MultiBranchDataPreprocessor`` want: 'sup' for I1, or the branches of
    its pipeline if that ends with some; and those that the
    pipeline of I2 ends with, a ``sohes.OrderedMultiBranch`` of
    'unsup_teacher' and 'unsup_student'.

    Args:
        labeled (dict): config of the ``sohes.EntityDataset``.
        unlabeled (dict): config of any dataset whose pipeline ends with
            such branches: ``sohes.ImageFolderDataset`` for a folder, or a
            ``sohes.EntityDataset`` whose pipeline loads no entities for the
            images of a json.
    """

    def __init__(self, labeled: dict, unlabeled: dict) -> None:
        self.labeled = DATASETS.build(labeled)
        self.unlabeled = DATASETS.build(unlabeled)

    @property
    def metainfo(self) -> dict[str, Any]:
        """That of the labelled images."""
        return self.labeled.metainfo

    def full_init(self) -> None:
        """Find the images of both, where that was put off."""
        self.labeled.full_init()
        self.unlabeled.full_init()

    def __len__(self) -> int:
        return len(self.labeled)

    def __getitem__(self, idx: int) -> dict[str, dict[str, Any]]:
        """A pair.

        Args:
            idx: of the labelled image.

        Returns:
            ``inputs`` and ``data_samples``, each by branch.
        """
        count = len(self.unlabeled)
        entropy = getattr(idx, 'entropy', None)
        if entropy is None:
            other = int(np.random.randint(count))
        else:
            # One more number: not the random numbers of I1.
            entropy = (*map(int, entropy), 1)
            other = Draw(
                int(np.random.default_rng(entropy).integers(count)), entropy)
        views = self.unlabeled[other]
        return {
            key: dict(value if isinstance(value, dict) else dict(sup=value),
                      **views[key])
            for key, value in self.labeled[idx].items()
        }
