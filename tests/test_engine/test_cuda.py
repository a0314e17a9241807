"""Phase 2 on a GPU beside itself on a CPU; skipped where there is none."""
import time
from pathlib import Path

import pytest
import torch
from mmcv.ops import MultiScaleDeformableAttention
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

from sohes.apis.run_config import read_config
from sohes.apis.training import train_model
from tests.tiny_entities import make_entities, shrunk

pytestmark = pytest.mark.cuda
TINY = Path(__file__).resolve().parents[2] / (
    'configs/tiny/sohes_phase2_tiny.py')


@pytest.fixture
def config(tmp_path) -> Config:
    data = make_entities(tmp_path / 'entities')
    return shrunk(read_config(
        str(TINY), {'data_root': f'{data}/', 'train_cfg.max_iters': 3},
        str(tmp_path / 'run')))


@pytest.fixture
def same_points(monkeypatch) -> None:
    """Points of the losses from the CPU's generator on either device."""
    drawn = torch.rand

    def rand(*size, device=None, **kwargs):
        return drawn(*size, **kwargs).to(device or 'cpu')

    monkeypatch.setattr(torch, 'rand', rand)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def losses_and_gradients(config: Config, device: str) -> tuple[dict, dict]:
    """Of the first batch, on the CPU again."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(config.model).to(device).train()
    batch = next(iter(Runner.build_dataloader(config.train_dataloader,
                                              seed=0)))
    data = model.data_preprocessor(batch, training=True)
    losses = model(**data, mode='loss')
    sum(losses.values()).backward()
    return ({name: float(loss) for name, loss in losses.items()},
            {name: parameter.grad.cpu()
             for name, parameter in model.named_parameters()})


def test_losses_and_gradients_are_the_cpus(config, same_points):
    wanted, gradients = losses_and_gradients(config, 'cpu')
    found, on_gpu = losses_and_gradients(config, 'cuda')
    assert found == pytest.approx(wanted, rel=1e-3)
    for name, gradient in gradients.items():
        error = (on_gpu[name] - gradient).norm()
        assert error <= 1e-2 * gradient.norm() + 1e-6, name


def test_deformable_attention_is_the_cpus():
    torch.manual_seed(0)
    layer = MultiScaleDeformableAttention(
        32, num_heads=4, num_levels=2, batch_first=True, dropout=0.0)
    torch.nn.init.normal_(layer.sampling_offsets.weight, std=0.1)
    shapes = torch.tensor([[9, 7], [5, 4]])
    inputs = dict(
        query=torch.randn(2, 11, 32), value=torch.randn(2, 83, 32),
        reference_points=torch.rand(2, 11, 2, 2), spatial_shapes=shapes,
        level_start_index=torch.tensor([0, 63]))
    wanted = layer(**inputs)
    found = layer.cuda()(**{k: v.cuda() for k, v in inputs.items()}).cpu()
    assert torch.allclose(found, wanted, atol=1e-4)


def test_bf16_trains(config, capsys):
    config.optim_wrapper.type = 'AmpOptimWrapper'
    config.optim_wrapper.dtype = 'bfloat16'
    config.optim_wrapper.loss_scale = 1.0
    torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    runner = train_model(config)
    seconds = (time.perf_counter() - started) / runner.iter
    with capsys.disabled():
        print(f'\nbf16, tiny: {seconds:.2f} s a step with start-up, peak '
              f'{torch.cuda.max_memory_allocated() / 2**20:.0f} MiB')
    assert runner.iter == 3
    for name, parameter in runner.model.named_parameters():
        assert parameter.isfinite().all(), name
