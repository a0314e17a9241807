"""ViT-Adapter on a GPU beside itself on a CPU."""
import pytest
import torch

from .test_vit_adapter import outputs_and_gradients
from .tiny_adapter import pixels, tiny_adapter

pytestmark = pytest.mark.cuda


def agree(found: torch.Tensor, wanted: torch.Tensor, most: float) -> bool:
    """Whether the relative error of a whole tensor is small."""
    difference = (found.float().cpu() - wanted).norm()
    return bool(difference <= most * wanted.norm() + 1e-6)


@pytest.mark.parametrize(('dtype', 'most'), ((torch.float32, 1e-3),
                                             (torch.bfloat16, 5e-2)))
def test_outputs_and_gradients_agree(dtype: torch.dtype,
                                     most: float) -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    x = pixels(2, 3, 61, 90)
    wanted, gradients = outputs_and_gradients(tiny_adapter().train(), x)
    with torch.autocast(
            'cuda', dtype=dtype, enabled=dtype != torch.float32):
        found, on_gpu = outputs_and_gradients(
            tiny_adapter().train().cuda(), x.cuda())
    for a, b in zip(found, wanted):
        assert agree(a, b, most)
    for name, gradient in gradients.items():
        if dtype == torch.float32:
            assert agree(on_gpu[name], gradient, 10 * most), name
        assert on_gpu[name].isfinite().all(), name
