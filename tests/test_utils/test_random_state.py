"""Random numbers that depend on what they are for, not on when."""
import random

import numpy as np
import torch

from sohes.utils.random_state import seeded_random


def draw() -> list[float]:
    return [random.random(), np.random.rand(), *torch.rand(3).tolist()]


def test_numbers_depend_on_the_key_alone():
    with seeded_random(0, 'a'):
        first = draw()
    draw()
    with seeded_random(0, 'a'):
        again = draw()
    with seeded_random(0, 'b'):
        other = draw()
    assert first == again
    assert not set(first) & set(other)


def test_the_generators_go_on_as_if_nothing_had_been():
    def seed() -> None:
        random.seed(3)
        np.random.seed(3)
        torch.manual_seed(3)

    seed()
    expected = draw()
    seed()
    with seeded_random(1):
        draw()
    assert draw() == expected
