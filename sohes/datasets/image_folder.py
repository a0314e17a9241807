"""The raw images of Phase 3: a folder, no labels."""
import os
from typing import Any

from sohes.datasets.seeded_dataset import SeededDataset, names_to_exclude
from sohes.pseudo_labels.images import find_images
from sohes.registry import DATASETS


@DATASETS.register_module()
class ImageFolderDataset(SeededDataset):
    """All images of a folder and the folders in it, without labels.

    The images that Phase 1 would find there, in the same order; see
    :func:`sohes.pseudo_labels.images.find_images`. Augmentation is seeded
    as :class:`SeededDataset` says.

    Args:
        data_prefix (dict): ``img`` is the folder, relative to ``data_root``.
        exclude_file (str, optional): a json list, relative to
            ``data_root``, of names, relative to the folder: these images are
            left out.
        **kwargs: ``data_root``, ``indices``, ``pipeline`` and ``lazy_init``
            of mmengine's ``BaseDataset``.

    Raises:
        ValueError: the folder is missing or holds no image.
    """
    METAINFO = dict(classes=('entity', ))

    def __init__(self, *args: Any, exclude_file: str | None = None,
                 **kwargs: Any) -> None:
        self._excluded = names_to_exclude(exclude_file,
                                          kwargs.get('data_root'))
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Path and name of each image; the name is its id."""
        folder = self.data_prefix['img']
        return [
            dict(img_path=os.path.join(folder, name), img_id=name)
            for name in find_images(folder) if name not in self._excluded
        ]
