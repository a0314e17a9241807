"""The dataset of Phase 2: images with masks and who is part of whom."""
import copy
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from mmengine.logging import print_log

from sohes.datasets.entity_index import EntityIndex, ImageEntities
from sohes.datasets.seeded_dataset import (
    SeededDataset,
    named,
    names_to_exclude,
)
from sohes.registry import DATASETS
from sohes.utils.errors import FileError


@DATASETS.register_module()
class EntityDataset(SeededDataset):
    """Images and entities of the json of Phase 1, or of any COCO json.

    All classes become one, 'entity'. Crowd regions are left out. Where an
    image's annotations have no ``parent_id``, the forest comes from coverage
    (section 3.1, step 4), once, when the index is built; see
    :class:`EntityIndex`. The masks stay in that index, mapped into memory:
    a worker's own memory does not grow with them.

    Augmentation is seeded by the draw, see :class:`SeededDataset`: a sample
    depends neither on the number of workers or processes, nor on samples
    made before, so a resumed run sees the same augmentations.

    A transform with ``get_indexes(dataset)``, such as
    ``sohes.EntityCopyPaste`` and those of mmdet that mix images, finds the
    other images in ``mix_results``, after the transforms before it.

    Args:
        ann_file (str): the json; relative to ``data_root``.
        data_prefix (dict): ``img`` is the folder of images.
        filter_cfg (dict, optional): ``min_masks``, fewest masks of an image
            in training.
        max_masks (int, optional): of an image with more the best stay.
        keep (str): which are best: 'score', or 'largest' in pixels; of
            equal ones those that come first in the json.
        categories (Sequence[str], optional): only masks of these names of
            the json's categories.
        check_images (str, optional): look at the start whether the 'first'
            image, or 'all', are there. None: when they are loaded.
        index_dir (str, optional): folder for the index, see
            :meth:`EntityIndex.open`.
        coverage (float): of a part by its whole, in (0, 1]; for images
            without ``parent_id``. The paper has 0.9.
        ancestors (str): the relation that the model learns. 'pairs', the
            paper's: ``ancestor_ids`` of the json; an image without them
            falls back to 'closure', all masks above a mask in its tree.
        exclude_file (str, optional): a json list of file names, relative
            to ``data_root``: these images of ``ann_file`` are left out.
        **kwargs: ``metainfo``, ``data_root``, ``indices``, ``pipeline``,
            ``test_mode``, ``lazy_init`` and ``max_refetch`` of mmengine's
            ``BaseDataset``.

    Raises:
        FileError: one sentence on what is wrong with the json or
            does not go with it.
        ValueError: an unknown option, or a value out of range.
    """
    METAINFO = dict(classes=('entity', ), palette=[(220, 20, 60)])

    def __init__(self,
                 ann_file: str = '',
                 data_prefix: Mapping[str, str] | None = None,
                 *,
                 filter_cfg: Mapping[str, Any] | None = None,
                 max_masks: int | None = None,
                 keep: str = 'score',
                 categories: Sequence[str] | None = None,
                 check_images: str | None = 'first',
                 index_dir: str | None = None,
                 coverage: float = 0.9,
                 ancestors: str = 'pairs',
                 exclude_file: str | None = None,
                 **kwargs: Any) -> None:
        _check_options(filter_cfg, max_masks, keep, check_images, ancestors)
        _check_classes((kwargs.get('metainfo') or {}).get('classes'),
                       ann_file)
        self.max_masks = max_masks
        self.keep = keep
        self.categories = None if categories is None else tuple(categories)
        self.check_images = check_images
        self.index_dir = index_dir
        self.coverage = coverage
        self.ancestors = ancestors
        self._excluded = names_to_exclude(exclude_file,
                                          kwargs.get('data_root'))
        self._positions = np.zeros(0, np.int64)
        self._category_ids: np.ndarray | None = None
        super().__init__(
            ann_file=ann_file,
            data_prefix=dict(data_prefix or dict(img='')),
            filter_cfg=dict(filter_cfg) if filter_cfg else None,
            **kwargs)

    def full_init(self) -> None:
        """Open the index, building it if need be, and choose the images."""
        if self._fully_initialized:
            return
        self.index = EntityIndex.open(self.ann_file, self.index_dir,
                                      self.coverage)
        self._category_ids = self._find_categories()
        positions = np.arange(len(self.index))
        least = (self.filter_cfg or {}).get('min_masks', 0)
        if least and not self.test_mode:
            positions = positions[self._mask_counts() >= least]
        if self._excluded:
            positions = positions[[self.index.file_name(int(position))
                                   not in self._excluded
                                   for position in positions]]
        if self._indices is not None:
            positions = positions[_picked(self._indices, len(positions))]
        if not len(positions):
            raise FileError(
                f'{self.ann_file}: no image is left of {len(self.index)} '
                f'(filter_cfg={self.filter_cfg}, indices={self._indices})')
        self._positions = positions
        self._fully_initialized = True
        self._check_images()
        self._say_closure()

    def __len__(self) -> int:
        self.full_init()
        return len(self._positions)

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """What is known of an image before it is loaded.

        Args:
            idx: 0 to N - 1, or from the end.

        Returns:
            img_path, img_id, height and width in pixels, sample_idx, and
            ``entities``, the :class:`ImageEntities` that stay.
        """
        self.full_init()
        idx = int(idx) % len(self) if -len(self) <= idx < len(self) else idx
        position = int(self._positions[idx])
        image = self.index.images[position]
        return dict(
            img_path=self._image_path(position),
            img_id=int(image['id']),
            height=int(image['height']),
            width=int(image['width']),
            sample_idx=idx,
            entities=self._chosen(self.index.entities(position)))

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline, and that of images to mix in."""
        return self._run(idx, len(self.pipeline.transforms))

    def _run(self, idx: int, stop: int) -> Any:
        """An image after the first ``stop`` transforms; None: dropped."""
        results: Any = self.get_data_info(idx)
        with named(results['img_path']):
            for number, transform in enumerate(
                    self.pipeline.transforms[:stop]):
                if hasattr(transform, 'get_indexes'):
                    others = transform.get_indexes(self)
                    if not isinstance(others, Sequence):
                        others = [others]
                    mixed = [self._run(other, number) for other in others]
                    results['mix_results'] = [
                        m for m in mixed if m is not None]
                results = transform(results)
                if results is None:
                    return None
        return results

    def get_subset_(self, indices: Sequence[int] | int) -> None:
        """Keep some images: the first or last few, or those listed."""
        self.full_init()
        self._positions = self._positions[_picked(indices, len(self))]

    def get_subset(self, indices: Sequence[int] | int) -> 'EntityDataset':
        """A dataset of some of the images, over the same index."""
        self.full_init()
        subset = copy.copy(self)
        subset.get_subset_(indices)
        return subset

    def _chosen(self, entities: ImageEntities) -> ImageEntities:
        """Without crowds, other categories and what is too many."""
        records = entities.records
        usable = ~records['crowd']
        if self._category_ids is not None:
            usable &= np.isin(records['category'], self._category_ids)
        kept = np.flatnonzero(usable)
        if self.max_masks is not None and len(kept) > self.max_masks:
            rank = records['score' if self.keep == 'score' else 'area'][kept]
            best = np.argsort(-rank, kind='stable')[:self.max_masks]
            kept = kept[np.sort(best)]
        if self.ancestors == 'closure':
            entities = replace(entities, pairs=None)
        if len(kept) == len(records):
            return entities
        forest = entities.forest.subset(kept)
        chosen = records[kept]
        chosen['parent'] = forest.parents
        blob = [entities.blob[a:b] for a, b in entities.spans[kept]]
        return ImageEntities(
            chosen, np.concatenate([np.zeros(0, np.uint8), *blob]),
            entities.size, forest.pairs)

    def _say_closure(self) -> None:
        """Once a json: that its labels do not have the paper's relation."""
        lacking = self.index.without_pairs
        if self.ancestors == 'pairs' and lacking and not self.test_mode:
            print_log(
                f'{self.ann_file}: {lacking} of {len(self.index)} images '
                "have parent_id without ancestor_ids, so a mask's ancestors "
                'are all masks above it in its tree, which is close to the '
                "paper's relation but not it; Phase 1 of this version "
                'writes both', 'current', logging.WARNING)

    def _mask_counts(self) -> np.ndarray:
        """(M,) masks of each image that count."""
        if self._category_ids is None:
            return self.index.images['masks']
        records = self.index.annotations
        usable = np.isin(records['category'], self._category_ids)
        usable &= ~records['crowd']
        before = np.concatenate([[0], np.cumsum(usable)])
        first = self.index.images['first']
        return before[first + self.index.images['count']] - before[first]

    def _find_categories(self) -> np.ndarray | None:
        if self.categories is None:
            return None
        known = {row['name']: row['id']
                 for row in self.index.meta['categories']}
        unknown = [name for name in self.categories if name not in known]
        if unknown:
            raise FileError(
                f'{self.ann_file} has no category {unknown[0]!r}; it has '
                f'{", ".join(sorted(known)) or "none"}')
        return np.array([known[name] for name in self.categories], np.int64)

    def _image_path(self, position: int) -> str:
        return os.path.join(
            self.data_prefix.get('img', ''), self.index.file_name(position))

    def _check_images(self) -> None:
        if self.check_images is None:
            return
        count = 1 if self.check_images == 'first' else len(self)
        for position in self._positions[:count]:
            path = self._image_path(int(position))
            if not os.path.isfile(path):
                raise FileError(
                    f'image {path} of {self.ann_file} does not exist; '
                    "data_prefix=dict(img=...) is the folder of the json's "
                    'file names')


def _picked(indices: Sequence[int] | int, count: int) -> Any:
    """The first or last few, or those listed, as mmengine has it."""
    if isinstance(indices, int):
        return slice(indices) if indices >= 0 else slice(indices, None)
    indices = np.asarray(indices, np.int64)
    wrong = indices[(indices < -count) | (indices >= count)]
    if len(wrong):
        raise ValueError(f'index {wrong[0]} of {count} images')
    return indices


def _check_options(filter_cfg: Mapping[str, Any] | None,
                   max_masks: int | None, keep: str,
                   check_images: str | None, ancestors: str) -> None:
    unknown = set(filter_cfg or {}) - {'min_masks'}
    if unknown:
        raise ValueError(f'filter_cfg: expected min_masks, found '
                         f'{", ".join(sorted(unknown))}')
    if max_masks is not None and max_masks < 1:
        raise ValueError(f'max_masks must be 1 or more, got {max_masks}')
    if keep not in ('score', 'largest'):
        raise ValueError(f"keep must be 'score' or 'largest', got {keep!r}")
    if ancestors not in ('pairs', 'closure'):
        raise ValueError("ancestors must be 'pairs' or 'closure', got "
                         f'{ancestors!r}')
    if check_images not in ('first', 'all', None):
        raise ValueError("check_images must be 'first', 'all' or None, got "
                         f'{check_images!r}')


def _check_classes(classes: Any, ann_file: str) -> None:
    if classes is not None and (isinstance(classes, str)
                                or tuple(classes) != ('entity', )):
        raise FileError(
            f'{ann_file}: an EntityDataset has one class, ("entity",); '
            f'metainfo asks for {classes!r}. To train on some of the '
            "json's categories, use categories=[...]")
