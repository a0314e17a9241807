import torch

from sohes.models.task_modules import seeded_random

CPU = torch.device('cpu')


def test_numbers_depend_on_the_key_alone():
    with seeded_random(CPU, 0, 'a'):
        first = torch.rand(5)
    torch.rand(3)
    with seeded_random(CPU, 0, 'a'):
        again = torch.rand(5)
    with seeded_random(CPU, 0, 'b'):
        other = torch.rand(5)
    assert torch.equal(first, again)
    assert not torch.isclose(first, other).any()


def test_the_global_generator_goes_on_as_if_nothing_had_been():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    with seeded_random(CPU, 1):
        torch.rand(100)
    assert torch.equal(torch.rand(4), expected)
