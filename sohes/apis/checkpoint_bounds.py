"""How much a model that came with a checkpoint may take of the machine.

A line of its configuration can ask for a billion queries. What its numbers
ask for is compared with the weights beside it before anything is allocated.
"""
import copy
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import nn
from torch.nn.modules import module as torch_module

#: The largest numbers by the key above them; the first that matches counts.
#: Those of the paper's model and of the largest in MMDetection are below.
_LARGEST: tuple[tuple[re.Pattern[str], float], ...] = tuple(
    (re.compile(pattern), most) for pattern, most in (
        (r'chunk_pixels', 1 << 24),
        # Sides of images in pixels.
        (r'((img|image|crop|view|vit|refiner)_)?(scale|size|cells)|'
         r'(pad_)?size_divisor|max_side', 4096),
        (r'num_queries|max_candidates|max_per_im.*|max_num|nms_pre|'
         r'num_feats', 5000),
        (r'zooms|.*(ratio|factor)', 16),
        (r'iterations', 100),
    ))
#: Of any other.
_LARGEST_OTHER = 1 << 16
#: Steps of a test pipeline, and what they may be: others, such as one that
#: puts a photo on a canvas of any size, are for training.
_MOST_STEPS = 20
_STEPS = ('LoadEntityImage', 'EntityResize', 'Resize', 'FixShapeResize',
          'Pad', 'Normalize', 'PackEntityInputs', 'PackDetInputs')
#: Numbers that a model may have beside those in its file, such as buffers.
_SPARE = 1 << 24


def check_numbers(node: Any, key: str = '') -> None:
    """Refuse numbers that no model needs.

    Args:
        node: a configuration, or a part of one.
        key: the nearest one above it.

    Raises:
        ValueError: names key, number and bound; goes on a subject.
    """
    if isinstance(node, Mapping):
        for name, item in node.items():
            check_numbers(item, str(name))
    elif isinstance(node, (list, tuple)):
        for item in node:
            check_numbers(item, key)
    elif isinstance(node, (int, float)):
        most = next((most for pattern, most in _LARGEST
                     if pattern.fullmatch(key)), _LARGEST_OTHER)
        if not abs(node) <= most:
            raise ValueError(f'has the number {node:.6g} as {key:.60}, which '
                             f'may be {most:g} at most')


def check_steps(pipeline: Any) -> None:
    """Refuse a test pipeline that does more than load, resize and pack.

    Raises:
        ValueError: names the step; goes on a subject.
    """
    if len(pipeline) > _MOST_STEPS:
        raise ValueError(f'has a test pipeline of {len(pipeline)} steps, '
                         f'which may have {_MOST_STEPS} at most')
    for step in pipeline:
        name = str(step.get('type')).rpartition('.')[2]
        if name not in _STEPS:
            raise ValueError(
                f'has {name!r:.60} in its test pipeline, which may have '
                f'{", ".join(_STEPS)}')


def empty_model(config: Mapping[str, Any], state: Mapping[str, Any],
                path: str | Path) -> nn.Module:
    """The model of a configuration without memory for its weights.

    Args:
        config: of the model; all types are registered names.
        state: the checkpoint's weights.
        path: the checkpoint, which bounds how many numbers a model may have
            that are all in it.

    Raises:
        ValueError: the model is larger than what was stored of it; or
            whatever a class raises for its arguments.
    """
    with _few_parts(1000 + 10 * len(state)), torch.device('meta'):
        model = MODELS.build(copy.deepcopy(config))
    numbers = sum(tensor.numel() for tensor in
                  (*model.parameters(), *model.buffers()))
    held = Path(path).stat().st_size
    if numbers > held + _SPARE:
        raise ValueError(f'it makes a model of {numbers} numbers, found a '
                         f'file of {held} bytes')
    return model


@contextmanager
def _few_parts(most: int) -> Iterator[None]:
    """Stop a model while it is built once it has too many parts.

    Args:
        most: modules and parameters together.
    """
    left = most

    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError(f'it makes a model of more than {most} parts, '
                             'many more than there are weights')

    handles = [
        torch_module.register_module_module_registration_hook(count),
        torch_module.register_module_parameter_registration_hook(count)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
