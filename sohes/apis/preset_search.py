"""Feature, block, centring and thresholds for a ViT, from unlabelled photos.

Each setting gets the thresholds that fit a budget of masks, as
calibrate_thresholds.py chooses them. A setting is judged by how many of its
masks return in every view of the photos, times the share that it finds of what
returns of the other settings (`sohes.pseudo_labels.stability`).
"""
import dataclasses
import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from sohes.evaluation.mask_matching import ImageMasks
from sohes.evaluation.mask_metrics import evaluate_masks
from sohes.pseudo_labels.merge_tree import MergeTree
from sohes.pseudo_labels.options import ExploreOptions
from sohes.pseudo_labels.pipeline import explore
from sohes.pseudo_labels.proposals import pool_nodes, suppress_nodes
from sohes.pseudo_labels.stability import (
    VIEWS,
    agreement,
    sample,
    shares_returning,
)
from sohes.utils.errors import UsageError
from sohes.utils.files import whole_file

Photo = NDArray[np.uint8]
# Thresholds for the trees of the photos; see calibrate_thresholds.py.
ChooseThresholds = Callable[[Sequence[MergeTree]], Sequence[float]]


@dataclass(frozen=True)
class Setting:
    """How features are taken from a ViT, and where they are cut.

    Attributes:
        feature: 'key', 'query', 'value' or 'token'.
        block: from 1.
        center: whether each image's mean is subtracted.
        thresholds: chosen for the budget, falling.
        masks: of a photo, mean.
        returning: how many of them return in every view.
        found: of the masks of other features and blocks, as far as they
            return, the share that this setting finds, in [0, 1].
        ar: AR@1000 in percent where there is a ground truth.
    """
    feature: str
    block: int
    center: bool
    thresholds: tuple[float, ...] = ()
    masks: float = 0.0
    returning: float = 0.0
    found: float = 0.0
    ar: float | None = None

    @property
    def score(self) -> float:
        """The measure to compare by."""
        return self.returning * self.found

    def preset(self) -> dict[str, Any]:
        """What ``--preset`` of generate_pseudo_labels.py reads."""
        return dict(feature=self.feature, block=self.block,
                    center=self.center, thresholds=list(self.thresholds))


def all_settings(depth: int,
                 features: Iterable[str] = ('key', 'token'),
                 shares: Iterable[float] = (0.5, 0.75, 1.0),
                 centers: Iterable[bool] = (False, True)) -> list[Setting]:
    """Twelve by default: features x blocks x centring.

    Args:
        depth: blocks of the ViT.
        features: to try.
        shares: blocks to try, as shares of the depth.
        centers: to try.
    """
    blocks = sorted({max(1, round(share * depth)) for share in shares})
    return [
        Setting(*choice)
        for choice in itertools.product(features, blocks, centers)
    ]


def measure(settings: Sequence[Setting], build: Callable[..., Any],
            photos: Sequence[Photo], options: ExploreOptions,
            choose: ChooseThresholds,
            truth: Sequence[tuple[Photo, ImageMasks]] = (),
            say: Callable[[str], None] | None = None) -> list[Setting]:
    """Choose thresholds for each setting and let the settings agree.

    Args:
        settings: without thresholds.
        build: (feature, block) to a feature extractor.
        photos: RGB, uint8.
        options: of Phase 1; steps 2 and 3 are left out.
        choose: thresholds from trees.
        truth: photos with their ground truth, to compare AR with.
        say: gets a line for every setting; None prints it.

    Returns:
        The settings, the best score first. One without fitting thresholds
        is left out.
    """
    say = say or partial(print, flush=True)
    options = dataclasses.replace(
        options, local=None, refiner=dict(type='none'))
    measured, seen = [], []
    ordered = sorted(settings, key=lambda s: (s.feature, s.block))
    for (feature, block), group in itertools.groupby(
            ordered, key=lambda s: (s.feature, s.block)):
        extractor = build(feature, block)
        views = [_view_features(extractor, photo, options.image_size)
                 for photo in photos]
        scored = [extractor([photo], options.image_size, center=False)[0]
                  for photo, _ in truth]
        for setting in group:
            found, masks = _look(setting, views, choose, options)
            if not found.thresholds:
                say(f'{feature} of block {block}: no thresholds fit')
                continue
            if truth:
                found = dataclasses.replace(found, ar=_average_recall(
                    found, truth, scored, options))
            measured.append(found)
            seen.append(masks)
    measured = _judge(measured, seen)
    for setting in measured:
        say(_line(setting))
    return sorted(measured, key=lambda s: -s.score)


def rank_correlation(settings: Sequence[Setting]) -> float:
    """Spearman's, between score and AR, in [-1, 1]."""
    return float(
        spearmanr([s.score for s in settings],
                  [s.ar for s in settings]).statistic)


def write_preset(setting: Setting, path: Path, **info: Any) -> None:
    """Write a preset as json, whole or not at all."""
    with whole_file(path) as file:
        file.write(json.dumps(dict(setting.preset(), **info), indent=1)
                   + '\n')


def apply_preset(config: Any, path: str) -> None:
    """Put a preset into a configuration of Phase 1, in place.

    Args:
        config: an mmengine Config.
        path: json of :func:`write_preset`.

    Raises:
        UsageError: it is no preset.
    """
    try:
        preset = json.loads(Path(path).read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise UsageError(f'--preset: {path} does not exist') from error
    except (OSError, ValueError) as error:
        raise UsageError(f'--preset: {path}: {error}') from error
    keys = ('feature', 'block', 'center', 'thresholds')
    if not isinstance(preset, dict) or not set(keys) <= set(preset):
        raise UsageError(
            f'--preset: {path}: expected a json of calibrate_thresholds.py '
            f'--preset with {", ".join(keys)}')
    config.merge_from_dict({
        'pseudo_labels.thresholds': preset['thresholds'],
        **{f'extractor.{key}': preset[key] for key in keys[:3]}
    })


def _line(setting: Setting) -> str:
    """One row of the table."""
    ar = '' if setting.ar is None else f'{setting.ar:7.1f}'
    return (f'{setting.feature:6} {setting.block:5d} '
            f'{"yes" if setting.center else "no":>6} {setting.masks:6.1f} '
            f'{setting.returning:8.1f} {100 * setting.found:8.1f} '
            f'{setting.score:6.2f}{ar}')


def _view_features(extractor: Any, photo: Photo,
                   size: int) -> list[NDArray[np.float32]]:
    """Features (h, w, C) of a photo and of its views, not centred."""
    return [extractor([photo], size, center=False)[0]] + [
        extractor([view.take(photo)], round(view.scale * size),
                  center=False)[0] for view in VIEWS
    ]


def _tree(features: NDArray[np.float32], center: bool) -> MergeTree:
    if center:
        features = features - features.mean((0, 1))
    return MergeTree.from_features(features)


def _masks(tree: MergeTree, thresholds: Sequence[float],
           options: ExploreOptions) -> NDArray[np.bool_]:
    """(N, h, w), what step 1 would make masks of."""
    nodes = suppress_nodes(tree, pool_nodes(tree, thresholds),
                           options.nms_iou)
    nodes = nodes[tree.area[nodes] >= options.min_patches]
    return np.array([tree.mask(node) for node in nodes], bool).reshape(
        len(nodes), *tree.shape)


def _look(setting: Setting, views: Sequence[list[NDArray]],
          choose: ChooseThresholds, options: ExploreOptions
          ) -> tuple[Setting, list[tuple[NDArray, NDArray]]]:
    """Thresholds of a setting; per photo its masks and how far they return.
    """
    trees = [[_tree(features, setting.center) for features in photo]
             for photo in views]
    thresholds = tuple(choose([photo[0] for photo in trees]))
    if not thresholds:
        return setting, []
    found = []
    for photo in trees:
        masks, *others = [_masks(tree, thresholds, options) for tree in photo]
        found.append((sample(masks), shares_returning(masks, others)))
    weights = np.concatenate([weight for _, weight in found])
    return dataclasses.replace(
        setting, thresholds=thresholds, masks=len(weights) / len(found),
        returning=float(weights.sum() / len(found))), found


def _judge(settings: Sequence[Setting],
           seen: Sequence[list[tuple[NDArray, NDArray]]]) -> list[Setting]:
    """The settings with what each finds of the others.

    A setting that differs in centring alone is no other: of the same
    features, it would agree for no good reason.

    Args:
        settings: K.
        seen: K, of each photo the masks and their weights.
    """
    photos = [zip(*photo) for photo in zip(*seen)]
    found = sum((agreement(*photo) for photo in photos),
                np.zeros((len(settings), len(settings))))
    weight = np.array([sum(w.sum() for _, w in photo) for photo in seen])
    judged = []
    for own, row in zip(settings, found):
        others = [(own.feature, own.block) != (other.feature, other.block)
                  for other in settings]
        judged.append(dataclasses.replace(own, found=float(
            row[others].sum() / max(weight[others].sum(), 1e-9))))
    return judged


def _given(features: NDArray, images: Sequence[Photo],
           size: int) -> NDArray:
    """An extractor of one image whose features are known."""
    return features


def _average_recall(setting: Setting,
                    truth: Sequence[tuple[Photo, ImageMasks]],
                    features: Sequence[NDArray],
                    options: ExploreOptions) -> float:
    """AR@1000 in percent of step 1 with a setting."""
    images = []
    for (photo, masks), found in zip(truth, features):
        if setting.center:
            found = found - found.mean((0, 1))
        labels = explore(photo, partial(_given, found[None]),
                         dataclasses.replace(
                             options, thresholds=setting.thresholds))
        images.append(masks.with_predictions(labels))
    return 100 * (evaluate_masks(images).ar or 0.0)
