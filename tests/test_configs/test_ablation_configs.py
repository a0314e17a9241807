"""The ablations of Phase 2: another head, and one without ancestors."""
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from sohes.apis.run_config import read_config
from sohes.apis.training import test_model as evaluate_model
from sohes.apis.training import train_model
from sohes.structures import EntityForest
from tests.tiny_entities import make_entities, shrunk

FOLDER = Path(__file__).resolve().parents[2] / 'configs/ablations'


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    return make_entities(tmp_path_factory.mktemp('data') / 'entities')


def read(name: str, data: Path, work_dir: Path) -> Config:
    return read_config(
        str(FOLDER / f'{name}.py'),
        {'data_root': f'{data}/', 'train_cfg.max_iters': 1}, str(work_dir))


@pytest.mark.slow
def test_without_ancestors_the_forest_is_found_by_coverage(data, tmp_path):
    config = shrunk(read('sohes_phase2_no-ancestor', data, tmp_path))
    runner = train_model(config)
    losses = runner.message_hub.log_scalars
    assert 'train/loss_mask' in losses and 'train/d0.loss_mask' in losses
    assert not any('ancestor' in name for name in losses)
    assert not any('ancestor' in name for name in runner.model.state_dict())
    found = evaluate_model(config, str(tmp_path / 'iter_1.pth'))
    assert found['forest/pairs'] == 6 * 3


@pytest.mark.parametrize('mask_format', ['tensor', 'rle'])
def test_the_forest_of_hand_drawn_masks(mask_format):
    from mmdet.structures import DetDataSample

    from sohes.models.dense_heads.entity_fusion_head import EntityFusionHead
    head = EntityFusionHead(test_cfg=dict(mask_format=mask_format))
    logits = torch.full((1, 3, 16, 16), -9.0)
    logits[0, 0, :12, :12] = 9  # the whole, its part, and one apart
    logits[0, 1, 2:6, 2:6] = 9
    logits[0, 2, 13:, 13:] = 9
    classes = torch.tensor([[[3.0, 0], [2, 0], [1, 0]]])
    sample = DetDataSample(metainfo=dict(
        batch_input_shape=(16, 16), img_shape=(16, 16), ori_shape=(16, 16)))
    found = head.predict(classes, logits, torch.zeros(1, 3, 0), [sample])[0]
    assert found.parents.tolist() == [-1, 0, -1]
    if mask_format == 'tensor':
        wanted = EntityForest.from_masks(found.masks.numpy()).parents
        assert found.parents.tolist() == wanted.tolist()


def shrunk_cascade(config: Config) -> Config:
    """The tests' small sizes, for a model without a panoptic head."""
    model = config.model.get('detector', config.model)
    model.panoptic_head = dict(  # what `shrunk` looks for
        pixel_decoder=dict(norm_cfg={}, positional_encoding={},
                           encoder=dict(layer_cfg=dict(
                               self_attn_cfg={}, ffn_cfg={}))),
        positional_encoding={},
        transformer_decoder=dict(layer_cfg=dict(
            self_attn_cfg={}, cross_attn_cfg={}, ffn_cfg={})))
    config = shrunk(config)
    model = config.model.get('detector', config.model)
    del model['panoptic_head']
    model.train_cfg.pop('num_points')
    model.neck.in_channels = [16] * 4
    for head in model.roi_head.bbox_head:
        assert head.num_classes == 1
        head.fc_out_channels = 32
    # A mask costs seconds at these sizes, and 1000 an image are predicted.
    model.roi_head.mask_head.update(num_convs=1, conv_out_channels=8)
    for stage in model.train_cfg.rcnn:
        stage.sampler.num = 12
    for proposals in (model.train_cfg.rpn_proposal, model.test_cfg.rpn):
        proposals.update(nms_pre=60, max_per_img=60)
    return config


@pytest.fixture(scope='module')
def cascade(data, tmp_path_factory) -> tuple[Config, Path, dict]:
    """A step of Phase 2: configuration, checkpoint and losses."""
    folder = tmp_path_factory.mktemp('cascade')
    config = read('sohes_cascade-mask-rcnn', data, folder)
    runner = train_model(shrunk_cascade(config))
    return config, folder / 'iter_1.pth', runner.message_hub.log_scalars


@pytest.mark.slow
def test_cascade_mask_rcnn_learns_from_the_same_json(cascade, data):
    config, checkpoint, losses = cascade
    assert config.test_evaluator[0].ann_file == f'{data}/val.json'
    for stage in range(3):
        assert f'train/s{stage}.loss_mask' in losses
    assert 0 < losses['train/s0.loss_mask'].current() < 10
    found = evaluate_model(config, str(checkpoint))
    assert 0 <= found['entity/AR@1000'] <= 100


@pytest.mark.slow
def test_cascade_mask_rcnn_corrects_itself(cascade, data, tmp_path):
    config = read_config(
        str(FOLDER / 'sohes_phase3_cascade-mask-rcnn.py'), {
            'data_root': f'{data}/', 'train_cfg.max_iters': 1,
            'model.semi_train_cfg.score_thr': 0.0,
            'load_from': str(cascade[1])}, str(tmp_path))
    runner = train_model(shrunk_cascade(config))
    losses = runner.message_hub.log_scalars
    for branch in ('sup', 'unsup'):
        assert losses[f'train/{branch}_s0.loss_bbox'].current() >= 0
        assert losses[f'train/{branch}_s2.loss_mask'].current() > 0
    assert losses['train/teacher_threshold'].current() == 0
    found = evaluate_model(config, str(tmp_path / 'iter_1.pth'))
    assert 0 <= found['entity/AR@1000'] <= 100


@pytest.mark.parametrize('name', ['cascade-mask-rcnn', 'no-ancestor'])
def test_every_head_of_phase_2_has_a_phase_3(name):
    before = 'sohes_' + name.replace('no-', 'phase2_no-')
    two = Config.fromfile(FOLDER / f'{before}.py')
    three = Config.fromfile(FOLDER / f'sohes_phase3_{name}.py')
    base = Config.fromfile(FOLDER.parent / 'sohes_phase3.py')
    assert three.model.detector == two.model
    assert three.model.semi_train_cfg == base.model.semi_train_cfg
    for key in ('custom_hooks', 'param_scheduler', 'auto_scale_lr'):
        assert three[key] == base[key], key
    assert three.train_cfg == base.train_cfg
    assert three.optim_wrapper.optimizer == base.optim_wrapper.optimizer
    streams = [config.train_dataloader.dataset for config in (base, three)]
    assert streams[0].unlabeled == streams[1].unlabeled
    assert [step.type for step in streams[0].labeled.pipeline] == [
        step.type for step in streams[1].labeled.pipeline]
    assert streams[0].labeled.pipeline[:-1] == streams[1].labeled.pipeline[:-1]


def test_closure_differs_in_the_relation_alone():
    other = Config.fromfile(FOLDER / 'sohes_phase2_closure.py')
    base = Config.fromfile(FOLDER.parent / 'sohes_phase2.py')
    assert other.train_dataloader.dataset.pop('ancestors') == 'closure'
    assert other.to_dict() == base.to_dict()


def test_table_8_differs_in_the_head_alone():
    other = Config.fromfile(FOLDER / 'sohes_cascade-mask-rcnn.py')
    base = Config.fromfile(FOLDER.parent / 'sohes_phase2.py')
    assert other.model.backbone == base.model.backbone
    pipelines = [config.train_dataloader.dataset.pipeline
                 for config in (base, other)]
    assert pipelines[0][:-1] == pipelines[1][:-1]
    assert pipelines[1][-1] == dict(pipelines[0][-1], bitmaps=True)
    assert other.train_cfg == base.train_cfg
    assert other.param_scheduler == base.param_scheduler
    assert other.optim_wrapper.optimizer == base.optim_wrapper.optimizer
    assert other.train_dataloader.batch_size == (
        base.train_dataloader.batch_size)
