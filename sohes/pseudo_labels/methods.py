"""Which method labels an image: SOHES's own four steps, or HASSOD's."""
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from sohes.pseudo_labels import hassod, pipeline
from sohes.pseudo_labels.hassod import HassodOptions
from sohes.pseudo_labels.options import ExploreOptions, build_options
from sohes.structures import Entities

LabelOptions = ExploreOptions | HassodOptions


def read_options(values: Mapping[str, Any]) -> LabelOptions:
    """A config's ``pseudo_labels``; its ``type`` names the method.

    Args:
        values (Mapping): the keys of `HassodOptions` where ``type`` is
            'hassod'; without ``type`` those of `ExploreOptions`.

    Raises:
        ValueError: for an unknown type or key, or a value out of range.
    """
    if not isinstance(values, Mapping) or 'type' not in values:
        return ExploreOptions.from_dict(values)
    if values['type'] != 'hassod':
        raise ValueError("pseudo_labels.type must be 'hassod', or left out "
                         f'for SOHES, found {values["type"]!r}')
    return build_options(HassodOptions, values, 'pseudo_labels')


def _module(options: LabelOptions) -> ModuleType:
    return hassod if isinstance(options, HassodOptions) else pipeline


def propose(image: np.ndarray, extractor: pipeline.FeatureExtractor,
            options: LabelOptions) -> Any:
    """What needs the ViT; see `pipeline.propose` and `hassod.propose`."""
    return _module(options).propose(image, extractor, options)


def finish(image: np.ndarray, proposals: Any,
           options: LabelOptions) -> Entities:
    """The rest; see `pipeline.finish` and `hassod.finish`."""
    return _module(options).finish(image, proposals, options)


def explore(image: np.ndarray, extractor: pipeline.FeatureExtractor,
            options: LabelOptions) -> Entities:
    """Both for one image, in this process."""
    return finish(image, propose(image, extractor, options), options)
