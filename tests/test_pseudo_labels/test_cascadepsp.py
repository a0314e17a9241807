"""CascadePSP through its package, with random weights in its format."""
import hashlib
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from sohes.pseudo_labels import cascadepsp
from sohes.pseudo_labels.cascadepsp import CascadePSPRefiner
from sohes.pseudo_labels.proposals import Proposal
from sohes.pseudo_labels.refinement import build_refiner
from sohes.pseudo_labels.window import mask_iou

pytest.importorskip('segmentation_refinement')


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Random weights as the authors publish theirs: DataParallel's names,
    torch 1.4's file format.
    """
    from segmentation_refinement.models.psp.pspnet import RefinementModule
    torch.manual_seed(0)
    state = RefinementModule().state_dict()
    path = tmp_path_factory.mktemp('cascadepsp') / 'model'
    torch.save(OrderedDict((f'module.{k}', v) for k, v in state.items()),
               path, _use_new_zipfile_serialization=False)
    yield path
    path.unlink()  # 270 MB that pytest would keep


@pytest.fixture(autouse=True)
def no_weights_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(cascadepsp, 'PACKAGE_FILE', tmp_path / 'home/model')
    monkeypatch.setenv('SOHES_HOME', str(tmp_path / 'cache'))


def _item() -> Proposal:
    """A block of 3 x 2 patches of 8 pixels in an image of 80 x 96."""
    grid = np.zeros((10, 12), bool)
    grid[3:6, 4:6] = True
    return Proposal(grid, (0, 0, 96, 80), 0.0, 1)


class _Echo(nn.Module):
    """Gives back the mask that it is given."""

    def forward(self, image, segment, inter_s8=None, inter_s4=None):
        assert image.shape[2:] == segment.shape[2:]
        probability = (segment + 1) / 2
        return dict.fromkeys(('pred_224', 'pred_28_3', 'pred_56_2'),
                             probability)


@pytest.fixture
def echo(monkeypatch, tmp_path):
    """Builds refiners whose network changes nothing."""
    from segmentation_refinement.models.psp import pspnet
    monkeypatch.setattr(pspnet, 'RefinementModule', _Echo)
    monkeypatch.setattr(cascadepsp, '_load_weights', lambda *args: None)
    (tmp_path / 'any').touch()

    def build(**kwargs) -> CascadePSPRefiner:
        return CascadePSPRefiner(tmp_path / 'any', 'cpu', **kwargs)
    return build


@pytest.fixture(scope='module')
def packages_own(weights):
    """The package's loader, transforms, passes and 8-bit output."""
    import segmentation_refinement
    return segmentation_refinement.Refiner(
        'cpu', str(weights.parent), download_and_check_model=False)


@pytest.mark.slow
@pytest.mark.parametrize('fast', [False, True])
def test_same_as_the_package(weights, packages_own, rng, fast):
    image = rng.integers(0, 256, (80, 96, 3), np.uint8)
    item = _item()
    # the margin takes in the image, so both see the whole of it
    refiner = CascadePSPRefiner(weights, 'cpu', fast=fast, max_side=128,
                                min_margin=200)
    mask, iou = refiner(image, item)
    before = item.render((80, 96))
    levels = packages_own.refine(image, before.astype(np.uint8) * 255, fast,
                                 128).astype(int)
    near = np.abs(levels - 127) <= 1  # which side, 8 bits do not tell
    assert near.mean() < 0.2
    np.testing.assert_array_equal(mask[~near], (levels > 127)[~near])
    assert 0 < mask.sum() < mask.size  # or the line above says nothing
    assert mask.dtype == bool and mask.shape == (80, 96)
    assert iou == pytest.approx(mask_iou(before, mask))


def _items(rng: np.random.Generator, size: tuple[int, int]) -> list[Proposal]:
    """Blocks of patches in the image and in a crop of it."""
    items = []
    for k in range(10):
        grid = np.zeros((10, 12), bool)
        top, left = rng.integers(0, 7, 2)
        grid[top:top + rng.integers(1, 4), left:left + rng.integers(1, 6)] = 1
        box = (0, 0, size[1], size[0]) if k % 2 else (40, 20, 136, 100)
        items.append(Proposal(grid, box, 0.5, 1))
    return items


@pytest.mark.slow
@pytest.mark.parametrize('fast', [False, True])
def test_several_masks_in_a_pass_are_those_of_one_at_a_time(
        weights, monkeypatch, rng, fast):
    size = (200, 260)
    image, items = rng.integers(0, 256, (*size, 3), np.uint8), _items(rng,
                                                                      size)
    refiner = CascadePSPRefiner(weights, 'cpu', fast=fast, max_side=128,
                                min_margin=8, batch_size=4)
    passes, outputs = [], []
    forward, refine = refiner.model.forward, cascadepsp.refine_windows

    def count(image, *rest):
        passes.append(len(image))
        return forward(image, *rest)

    def keep(*args):
        outputs.extend(refine(*args))
        return outputs[-len(args[1]):]

    monkeypatch.setattr(refiner.model, 'forward', count)
    together = refiner.refine_all(image, items)
    assert max(passes) == 4
    shared = len(passes)
    monkeypatch.setattr(cascadepsp, 'refine_windows', keep)
    for item, one in zip(items, together):
        alone, = refiner.refine_all(image, [item])
        assert one.corner == alone.corner
        sure = ((outputs.pop()[0] - 0.5).abs() > 1e-4).numpy()
        assert sure.mean() > 0.95
        np.testing.assert_array_equal(one.mask[sure], alone.mask[sure])
        assert one.iou == pytest.approx(alone.iou, abs=0.05)
    assert shared < 0.7 * (len(passes) - shared)


def test_several_masks_choose_their_tiles_by_themselves(echo):
    """The package leaves a tile out by the mean over its batch."""
    size = (300, 400)
    image = np.zeros((*size, 3), np.uint8)
    items = _items(np.random.default_rng(1), size)
    refiner = echo(max_side=128, batch_size=8)
    for item, one in zip(items, refiner.refine_all(image, items)):
        full = np.zeros(size, bool)
        left, top = one.corner
        full[top:top + one.mask.shape[0], left:left + one.mask.shape[1]] = (
            one.mask)
        assert mask_iou(full, item.render(size)) > 0.9


def test_windows_come_in_few_shapes(echo):
    items = _items(np.random.default_rng(0), (600, 800))
    shapes = [{
        cascadepsp.pass_shape(refiner._window(item, (600, 800)).shape, 256)
        for item in items
    } for refiner in (echo(max_side=256), echo(max_side=256, batch_size=2))]
    assert len(shapes[0]) > 7 >= len(shapes[1])


@pytest.mark.slow
def test_half_precision_is_near(weights, refiner, rng):
    image, item = rng.integers(0, 256, (80, 96, 3), np.uint8), _item()
    half = CascadePSPRefiner(weights, 'cpu', fast=True, max_side=128,
                             dtype='bf16')
    passes = []
    half.model.feats.conv1.register_forward_hook(
        lambda module, args, out: passes.append(out.dtype))
    mask, _ = half(image, item)
    assert passes and set(passes) == {torch.bfloat16}
    assert mask_iou(mask, refiner(image, item)[0]) > 0.8


@pytest.fixture
def refiner(weights) -> CascadePSPRefiner:
    """One for all tests: build_refiner builds it once."""
    return build_refiner(dict(type='cascadepsp', weights=str(weights),
                              device='cpu', fast=True, max_side=128))


def test_contract_and_determinism(refiner, rng):
    image = rng.integers(0, 256, (80, 96, 3), np.uint8)
    assert isinstance(refiner, CascadePSPRefiner)
    mask, iou = refiner(image, _item())
    assert mask.dtype == bool and mask.shape == (80, 96) and 0 <= iou <= 1
    # box of the block: rows 24..48, columns 32..48; margin of 16 pixels
    assert not mask[:8].any() and not mask[64:].any()
    assert not mask[:, :16].any() and not mask[:, 64:].any()
    again, iou_again = refiner(image, _item())
    np.testing.assert_array_equal(mask, again)
    assert iou == iou_again
    assert not any(p.requires_grad for p in refiner.model.parameters())
    assert not refiner.model.training


@pytest.mark.parametrize('fast', [False, True])
@pytest.mark.parametrize('max_side', [128, 150, 900])
def test_mask_comes_back_where_it_was(echo, fast, max_side):
    image = np.zeros((80, 96, 3), np.uint8)
    mask, iou = echo(fast=fast, max_side=max_side)(image, _item())
    assert mask_iou(mask, _item().render((80, 96))) > 0.97
    assert iou > 0.97


@pytest.mark.parametrize('size', [(60, 900), (900, 60), (300, 400)])
def test_tiles_fit_together(echo, size):
    item = Proposal(np.eye(2, dtype=bool), (0, 0, size[1], size[0]), 0.0, 1)
    mask, iou = echo(max_side=128)(np.zeros((*size, 3), np.uint8), item)
    assert iou > 0.95
    assert mask_iou(mask, item.render(size)) == pytest.approx(iou)


@pytest.mark.parametrize('size', [(1, 1), (1, 3000), (3000, 1), (2, 700),
                                  (9, 7), (80, 96)])
@pytest.mark.parametrize('fast', [False, True])
def test_every_size(echo, size, fast):
    item = Proposal(np.ones((1, 1), bool), (0, 0, size[1], size[0]), 0.0, 1)
    mask, iou = echo(fast=fast, max_side=130)(
        np.zeros((*size, 3), np.uint8), item)
    assert mask.shape == size and mask.all() and iou == 1.0


def test_thin_windows_meet_the_real_network(refiner):
    item = Proposal(np.ones((1, 1), bool), (0, 0, 400, 1), 0.0, 1)
    mask, _ = refiner(np.zeros((1, 400, 3), np.uint8), item)
    assert mask.shape == (1, 400)


def test_weights_without_module_prefix_and_read_only(weights, tmp_path):
    state = torch.load(weights, weights_only=True)
    path = tmp_path / 'plain.pth'
    torch.save({k[7:]: v for k, v in state.items()}, path)
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        refiner = CascadePSPRefiner(path, 'cpu')
    finally:
        tmp_path.chmod(0o755)
        path.unlink()
    name, value = next(iter(refiner.model.state_dict().items()))
    torch.testing.assert_close(value, state[f'module.{name}'])


def _saved(value, tmp_path):
    torch.save(value, tmp_path / 'file')
    return tmp_path / 'file'


@pytest.mark.parametrize('value, reason', [
    ({'module.conv.weight': torch.zeros(1)}, r'\d+ missing \(feats.*; '
                                             r'1 unexpected \(conv.weight'),
    ({'feats.conv1.weight': torch.zeros(2)}, '1 of another shape'),
    ([torch.zeros(1)], 'no state dict, but a list'),
])
def test_other_weights_are_refused(tmp_path, value, reason):
    with pytest.raises(ValueError, match=reason) as error:
        CascadePSPRefiner(_saved(value, tmp_path), 'cpu')
    assert len(str(error.value)) < 600


@pytest.mark.parametrize('content', [b'', b'<html>', b'PK\3\4 broken'])
def test_what_is_no_torch_file_is_refused(tmp_path, content):
    (tmp_path / 'file').write_bytes(content)
    with pytest.raises(ValueError, match='torch can read') as error:
        CascadePSPRefiner(tmp_path / 'file', 'cpu')
    assert str(tmp_path / 'file') in str(error.value)
    assert '\n' not in str(error.value)


def test_code_in_a_file_of_weights_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath('ran').touch, ())
    with pytest.raises(ValueError, match='torch can read'):
        CascadePSPRefiner(_saved(Evil(), tmp_path), 'cpu')
    assert not (tmp_path / 'ran').exists()


def test_path_that_is_no_file(tmp_path):
    with pytest.raises(ValueError, match='weights .*gone is not a file'):
        build_refiner(dict(type='cascadepsp', weights=str(tmp_path / 'gone')))


def test_arguments_are_checked(tmp_path):
    with pytest.raises(ValueError, match='max_side must be at least 128'):
        build_refiner(dict(type='cascadepsp', max_side=127))
    with pytest.raises(ValueError, match='batch_size must be at least 1'):
        build_refiner(dict(type='cascadepsp', batch_size=0))
    with pytest.raises(ValueError, match="one of fp32, bf16, fp16, found 'h'"):
        build_refiner(dict(type='cascadepsp', dtype='h'))
    with pytest.raises(ValueError, match='cascadepsp.*colour'):
        build_refiner(dict(type='cascadepsp', colour='red'))


def test_missing_package_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules,
                        'segmentation_refinement.models.psp.pspnet',
                        None)
    with pytest.raises(ImportError, match=r'pip install "sohes\[refine\]"'):
        CascadePSPRefiner()


def test_url_and_hash_are_the_package_s():
    from pathlib import Path

    import segmentation_refinement
    source = Path(segmentation_refinement.__file__).with_name('download.py')
    assert f"'{cascadepsp.URL}'" in source.read_text()
    assert f"'{cascadepsp.MD5}'" in source.read_text()


def test_offline_error_names_url_file_and_place(tmp_path, monkeypatch):
    monkeypatch.setattr(cascadepsp, 'URL', 'http://127.0.0.1:9/v1.0/model')
    with pytest.raises(ValueError) as error:
        CascadePSPRefiner(device='cpu')
    place = tmp_path / 'cache/weights/cascadepsp_v1.0.pth'
    assert 'http://127.0.0.1:9/v1.0/model' in str(error.value)
    assert f'put it at {place}' in str(error.value)
    # --weights are those of the ViT.
    assert 'pseudo_labels.refiner.weights=FILE' in str(error.value)
    assert '--weights' not in str(error.value)


def _have_md5_of(monkeypatch, content: bytes) -> None:
    monkeypatch.setattr(cascadepsp, 'MD5', hashlib.md5(content).hexdigest())


@pytest.mark.parametrize('where', ['home/model',
                                   'cache/weights/cascadepsp_v1.0.pth'])
def test_file_already_here_is_found_and_checked(tmp_path, monkeypatch,
                                                where):
    path = tmp_path / where
    path.parent.mkdir(parents=True)
    path.write_bytes(b'the right file')
    with pytest.raises(ValueError, match=f'{where} has MD5 .* delete it'):
        cascadepsp._find_weights(None)
    _have_md5_of(monkeypatch, b'the right file')
    assert cascadepsp._find_weights(None) == path


def test_download(tmp_path, monkeypatch):
    source = tmp_path / 'server' / 'model'
    source.parent.mkdir()
    source.write_bytes(b'from afar')
    monkeypatch.setattr(cascadepsp, 'URL', source.as_uri())
    _have_md5_of(monkeypatch, b'from afar')
    path = cascadepsp._find_weights(None)
    assert path == tmp_path / 'cache/weights/cascadepsp_v1.0.pth'
    assert path.read_bytes() == b'from afar'
    source.unlink()
    assert cascadepsp._find_weights(None) == path
