"""Which precision a device is fast in."""
import pytest
import torch

from sohes.models.dense_heads import LightPixelDecoder
from sohes.models.detectors import EntityMask2Former
from sohes.utils import precision
from sohes.utils.precision import _cpu_flags, fast_dtype


@pytest.mark.parametrize('flags, dtype', [
    ('fpu sse2 avx512f avx512_vnni', 'fp32'),
    ('fpu avx512f avx512_bf16', 'bf16'),
    ('fpu amx_tile amx_bf16', 'bf16'),
])
def test_a_processor_says_what_it_has(flags, dtype, monkeypatch, tmp_path):
    file = tmp_path / 'cpuinfo'
    file.write_text(f'processor\t: 0\nflags\t\t: {flags}\n\nprocessor\t: 1\n')
    found = _cpu_flags(str(file))
    assert found == set(flags.split())
    monkeypatch.setattr(precision, '_cpu_flags', lambda: found)
    assert fast_dtype('cpu') == dtype


@pytest.mark.parametrize('text', [None, '', 'Features\t: fp asimd bf16\n'])
def test_where_nothing_says_it_float32_is_taken(text, tmp_path):
    file = tmp_path / 'cpuinfo'
    if text is not None:
        file.write_text(text)
    assert _cpu_flags(str(file)) == frozenset()


@pytest.mark.parametrize('flags, dtype', [
    ({'amx_bf16'}, torch.bfloat16), (set(), torch.float32)])
def test_the_model_computes_in_what_is_fast(flags, dtype, monkeypatch):
    monkeypatch.setattr(precision, '_cpu_flags', lambda: flags)
    model = EntityMask2Former.__new__(EntityMask2Former)
    torch.nn.Module.__init__(model)
    model.autocast, model.layer = 'bf16', torch.nn.Linear(2, 2)
    with model.precision():
        assert model.layer(torch.ones(1, 2)).dtype == dtype


@pytest.mark.parametrize('flags, order', [
    ({'avx512_bf16'}, torch.channels_last), (set(), torch.contiguous_format)])
def test_convolutions_lie_as_the_processor_trains_them_fastest(
        flags, order, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(precision, '_cpu_flags', lambda: flags)
    decoder = LightPixelDecoder((4, 8), 32, 32)
    features, _ = decoder(
        [torch.randn(2, 4, 8, 8), torch.randn(2, 8, 4, 4)])
    weight = decoder.mix[0].weight
    assert weight.is_contiguous(memory_format=order)
    assert features.is_contiguous(memory_format=order)
