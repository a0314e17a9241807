import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from sohes.structures.bit_masks import BitMasks


def random_dense(rng, count=5, height=7, width=13):
    return rng.random((count, height, width)) < 0.5


def test_bits_are_those_of_packbits():
    dense = np.zeros((1, 2, 10), bool)
    dense[0, 0, [0, 9]] = True
    masks = BitMasks.from_dense(dense)
    assert masks.bits.tolist() == [[[0b10000000, 0b01000000], [0, 0]]]
    assert (masks.height, masks.width, len(masks)) == (2, 10, 1)


@pytest.mark.parametrize('width', [1, 7, 8, 9, 13, 16, 131])
def test_dense_masks_come_back(rng, width):
    dense = random_dense(rng, width=width)
    for given in (dense, torch.from_numpy(dense).float()):
        masks = BitMasks.from_dense(given)
        assert (masks.dense().numpy() == dense).all()
        assert masks.areas().tolist() == dense.sum((1, 2)).tolist()


@pytest.mark.parametrize('width', [1, 7, 8, 9, 13, 16, 131])
def test_flip(rng, width):
    dense = random_dense(rng, width=width)
    masks = BitMasks.from_dense(dense)
    assert (masks.flip().dense().numpy() == dense[..., ::-1]).all()
    assert (masks.flip('vertical').dense().numpy() == dense[:, ::-1]).all()
    assert torch.equal(masks.flip().flip().bits, masks.bits)
    with pytest.raises(ValueError, match='diagonal'):
        masks.flip('diagonal')


def test_pad(rng):
    dense = random_dense(rng)
    padded = BitMasks.from_dense(dense).pad((9, 32), pad_val=0)
    expected = np.pad(dense, ((0, 0), (0, 2), (0, 19)))
    assert (padded.dense().numpy() == expected).all()
    with pytest.raises(ValueError, match='size 6 x 32'):
        padded.pad((6, 32))
    with pytest.raises(ValueError, match='pad_val 255'):
        padded.pad((9, 32), pad_val=255)


@pytest.mark.parametrize(
    'index', [2, -1, slice(1, 4), [3, 0], np.array([True] + 4 * [False]),
              np.array([4, 4]), torch.tensor([1, 2]), [],
              torch.tensor([False, True, True, False, False])])
def test_index(rng, index):
    dense = torch.from_numpy(random_dense(rng))
    masks = BitMasks.from_dense(dense)
    expected = dense[[index] if isinstance(index, int) else index]
    assert torch.equal(masks[index].dense(), expected)


def test_index_out_of_range(rng):
    masks = BitMasks.from_dense(random_dense(rng))
    with pytest.raises(IndexError, match='mask 5 of 5'):
        masks[5]


def test_instance_data_moves_indexes_and_joins(rng):
    dense = torch.from_numpy(random_dense(rng))
    instances = InstanceData(
        labels=torch.arange(5), masks=BitMasks.from_dense(dense))
    moved = instances.to('cpu', non_blocking=True).detach().cpu()
    assert torch.equal(moved.masks.dense(), dense)
    keep = torch.tensor([True, False, True, True, False])
    assert torch.equal(moved[keep].masks.dense(), dense[keep])
    assert len(moved[torch.zeros(5, dtype=torch.bool)].masks) == 0
    joined = InstanceData.cat([moved[3:], moved[:2]])
    assert torch.equal(joined.masks.dense(), dense[[3, 4, 0, 1]])


def test_wrong_masks_are_named():
    with pytest.raises(ValueError, match='width 17'):
        BitMasks(torch.zeros(1, 4, 2, dtype=torch.uint8), 17)
    with pytest.raises(ValueError, match=r'\(N, H, W\)'):
        BitMasks.from_dense(np.zeros((4, 4)))
    with pytest.raises(ValueError, match='one height and width'):
        BitMasks.cat([
            BitMasks.from_dense(np.zeros((1, 4, 4))),
            BitMasks.from_dense(np.zeros((1, 4, 5)))
        ])
    with pytest.raises(TypeError, match='got str'):
        BitMasks.from_any('masks')


@pytest.mark.parametrize('size', [(97, 131), (1, 1), (64, 8), (1023, 1025)])
@pytest.mark.parametrize('padding', [(0, 0), (5, 11)])
@pytest.mark.parametrize('shared', [True, False])
def test_sample_equals_point_sample(rng, size, padding, shared):
    point_sample = pytest.importorskip('mmcv.ops').point_sample
    dense = random_dense(rng, 3, *size)
    full = np.pad(dense, ((0, 0), (0, padding[0]), (0, padding[1])))
    points = torch.from_numpy(rng.random((3, 400, 2), np.float32))
    points[:, :4] = torch.tensor([[0., 0], [0, 1], [1, 0], [1, 1]])
    if shared:
        points = points[:1].repeat(3, 1, 1)
    expected = point_sample(
        torch.from_numpy(full)[:, None].float(), points)[:, 0]
    masks = BitMasks.from_dense(dense)
    sampled = masks.sample(points[0] if shared else points, full.shape[1:])
    assert torch.allclose(sampled, expected, rtol=0, atol=1e-6)


def test_sample_of_no_masks(rng):
    masks = BitMasks.from_dense(np.zeros((0, 9, 9), bool))
    assert masks.sample(torch.rand(5, 2)).shape == (0, 5)
    assert masks.sample(torch.rand(0, 5, 2)).shape == (0, 5)
    assert masks.flip().pad((16, 16)).dense().shape == (0, 16, 16)
    with pytest.raises(ValueError, match=r'\(3, 5, 2\)'):
        masks.sample(torch.rand(3, 5, 2))


def test_at_pixels(rng):
    masks = rng.random((3, 6, 11)) < 0.5
    pixels = torch.tensor([[0, 0], [10, 5], [3, 4], [11, 0], [-1, 2], [0, 6]])
    found = BitMasks.from_any(torch.from_numpy(masks)).at(pixels)
    assert found[:, :3].tolist() == masks[:, [0, 5, 4], [0, 10, 3]].tolist()
    assert not found[:, 3:].any()  # outside
