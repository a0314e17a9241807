"""Teacher and student as mmengine's loop calls them."""
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine import ConfigDict
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.runner.checkpoint import load_state_dict
from mmengine.structures import InstanceData

from sohes.registry import MODELS
from sohes.structures import EntityForest
from tests.test_models.test_dense_heads.tiny_head import (
    boxes_of,
    head_config,
    sample_of,
    train_config,
)

SIZE = (64, 96)
BOXES = [(8, 8, 60, 60), (16, 16, 50, 50), (70, 4, 90, 40)]


def detector_config() -> ConfigDict:
    head = head_config(in_channels=[64, 128, 256, 512])
    return ConfigDict(
        type='sohes.EntityMask2Former',
        backbone=dict(type='mmdet.ResNet', depth=18, norm_eval=True),
        panoptic_head=head,
        panoptic_fusion_head=dict(type='sohes.EntityFusionHead'),
        train_cfg=head.pop('train_cfg', train_config()),
        test_cfg=dict(mask_format='rle'))


def build(semi_test_cfg=None, **semi_train_cfg):
    torch.manual_seed(0)
    return MODELS.build(
        ConfigDict(
            type='sohes.SelfCorrection',
            detector=detector_config(),
            data_preprocessor=dict(
                type='mmdet.MultiBranchDataPreprocessor',
                data_preprocessor=dict(
                    type='mmdet.DetDataPreprocessor',
                    mean=[123.675, 116.28, 103.53],
                    std=[58.395, 57.12, 57.375],
                    pad_size_divisor=32,
                    pad_mask=True)),
            semi_train_cfg=semi_train_cfg,
            semi_test_cfg=semi_test_cfg))


def view(img_id: int, **meta) -> DetDataSample:
    return DetDataSample(gt_instances=InstanceData(), metainfo=dict(
        dict(img_id=img_id, img_path=f'{img_id}.jpg', img_shape=SIZE,
             ori_shape=(128, 192), homography_matrix=np.diag([.5, .5, 1])),
        **meta))


def batch(images: int = 2) -> dict:
    rng = np.random.default_rng(0)
    branches = ('sup', 'unsup_teacher', 'unsup_student')
    data = dict(inputs={}, data_samples={})
    for branch in branches:
        data['inputs'][branch] = [
            torch.from_numpy(rng.integers(0, 256, (3, *SIZE), dtype=np.uint8))
            for _ in range(images)
        ]
        data['data_samples'][branch] = [
            sample_of(boxes_of(*BOXES), i) if branch == 'sup' else view(9 + i)
            for i in range(images)
        ]
    return data


def seen(*boxes, scores, parents=None, pairs=None,
         size=SIZE) -> InstanceData:
    """What a teacher may say of an image."""
    count = len(boxes)
    parents = [-1] * count if parents is None else parents
    return InstanceData(
        scores=torch.tensor(scores, dtype=torch.float32),
        labels=torch.zeros(count, dtype=torch.long),
        bboxes=torch.zeros(count, 4),
        masks=torch.from_numpy(boxes_of(*boxes, size=size)),
        parents=torch.tensor(parents, dtype=torch.long),
        ancestors=torch.tensor(EntityForest(parents, pairs).ancestors))


def says(model, instances, monkeypatch) -> None:
    monkeypatch.setattr(model.pseudo_label_head, 'predict',
                        lambda *args, **kwargs: [instances.clone(),
                                                 instances.clone()])


@pytest.fixture
def warnings(monkeypatch) -> list[str]:
    found = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'warning',
                        found.append)
    return found


def losses_of(model) -> dict:
    data = model.data_preprocessor(batch(), training=True)
    return model.train()(data['inputs'], data['data_samples'], mode='loss')


def test_a_checkpoint_of_one_model_is_loaded_into_both():
    model = build()
    before = MODELS.build(detector_config())
    load_state_dict(model, before.state_dict(), strict=True)
    for name, value in before.state_dict().items():
        assert torch.equal(model.student.state_dict()[name], value), name
        assert torch.equal(model.teacher.state_dict()[name], value), name
    # And one of Phase 3 as it is: the teacher is not the student.
    with torch.no_grad():
        model.teacher.panoptic_head.query_feat.weight.add_(1)
    again = build()
    load_state_dict(again, model.state_dict(), strict=True)
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_one_step_trains_the_student_alone():
    model = build(score_thr=0.)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    optimizer = OptimWrapper(torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad], lr=0.1))
    logs = model.train().train_step(batch(), optimizer)
    assert np.isfinite([float(value) for value in logs.values()]).all()
    assert {'sup_loss_mask', 'unsup_loss_mask', 'sup_d0.loss_ancestor',
            'unsup_loss_ancestor'} <= set(logs)
    total = sum(float(v) for k, v in logs.items() if 'loss_' in k)
    assert float(logs['loss']) == pytest.approx(total, rel=1e-5)
    after = model.state_dict()
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    assert changed and all(name.startswith('student.') for name in changed)
    assert not model.teacher.training and model.student.training


def test_weights_of_the_two_losses():
    one = losses_of(build(score_thr=0.))
    two = losses_of(build(score_thr=0., sup_weight=2., unsup_weight=0.5))
    for name, value in one.items():
        if 'loss' in name:
            factor = 2. if name.startswith('sup_') else 0.5
            torch.testing.assert_close(two[name], value * factor)


def test_the_threshold_the_forest_and_what_is_logged(monkeypatch):
    # Areas of 100, 2304 and 6144 of 6144 pixels; four times as many in the
    # original image of 128 x 192.
    boxes = [(0, 0, 96, 64), (0, 0, 48, 48), (0, 0, 10, 10), (0, 0, 10, 10)]
    model = build()
    says(model, seen(*boxes, scores=[0.71, 0.69, 0.69, 0.6],
                     parents=[-1, 0, 1, 1]), monkeypatch)
    data = model.data_preprocessor(batch(), training=True)
    samples, info = model.get_pseudo_instances(
        data['inputs']['unsup_teacher'],
        data['data_samples']['unsup_teacher'])
    shares = torch.tensor([1, 2304 / 6144, 100 / 6144, 100 / 6144])
    thresholds = (1 - (1 - shares)**200) * 0.4 + 0.3
    assert [float(t) for t in thresholds[:2]] == pytest.approx([0.7, 0.7])
    assert 0.68 < thresholds[2] < 0.69
    # The second goes, and leaves its child to the first.
    assert samples[0].gt_instances.forest.parents.tolist() == [-1, 0]
    assert samples[0].gt_instances.masks.sum((1, 2)).tolist() == [6144, 100]
    assert float(info['teacher_threshold']) == pytest.approx(
        float(thresholds.mean()), rel=1e-5)
    assert [float(info[f'teacher_{size}'])
            for size in ('small', 'medium', 'large')] == [1, 0, 1]


@pytest.mark.parametrize('option, learnt', [
    ('pairs', [[0, 1, 0], [0, 0, 1], [0, 0, 0]]),
    ('closure', [[0, 1, 1], [0, 0, 1], [0, 0, 0]]),
])
def test_the_pairs_that_the_teacher_predicts_are_learnt(
        option, learnt, monkeypatch):
    # Three generations, and the teacher says that the eldest is no ancestor
    # of the youngest.
    model = build(score_thr=0.5, ancestors=option)
    boxes = [(0, 0, 96, 64), (0, 0, 48, 48), (0, 0, 10, 10)]
    says(model, seen(*boxes, scores=[0.9] * 3, parents=[-1, 0, 1],
                     pairs=[(0, 1), (1, 2)]), monkeypatch)
    data = model.data_preprocessor(batch(), training=True)
    samples, _ = model.get_pseudo_instances(
        data['inputs']['unsup_teacher'],
        data['data_samples']['unsup_teacher'])
    found = model.project_pseudo_instances(
        samples, data['data_samples']['unsup_student'])
    assert found[0].gt_instances.ancestors.int().tolist() == learnt


def test_the_teachers_own_head_predicts_pairs():
    head = build().pseudo_label_head
    # Three equal masks; 0 is above 1, 1 above 2, 0 not above 2.
    classes = torch.tensor([[[3., 0], [2, 0], [1, 0]]])
    masks = torch.full((1, 3, 16, 24), 5.)
    relation = torch.full((1, 3, 3), -5.)
    relation[0, 0, 1] = relation[0, 1, 2] = 5.
    found, = head.predict(classes, masks, relation,
                          [view(1, batch_input_shape=SIZE)], rescale=False)
    assert found.parents.tolist() == [-1, 0, 1]
    assert found.ancestors.nonzero().tolist() == [[0, 1], [1, 2]]


def test_a_fixed_threshold(monkeypatch):
    model = build(score_thr=0.5)
    says(model, seen(*BOXES, scores=[0.6, 0.5, 0.4]), monkeypatch)
    data = model.data_preprocessor(batch(), training=True)
    samples, info = model.get_pseudo_instances(
        data['inputs']['unsup_teacher'],
        data['data_samples']['unsup_teacher'])
    assert [len(sample.gt_instances) for sample in samples] == [1, 1]
    assert float(info['teacher_threshold']) == 0.5


def test_who_leaves_the_view_leaves_its_children_to_the_next(monkeypatch):
    # The middle one of three generations lies where the crop is not.
    boxes = [(0, 0, 96, 64), (0, 0, 20, 20), (50, 30, 90, 60)]
    weak, strong = view(1), view(1, img_shape=(40, 50))
    weak.gt_instances = InstanceData(
        masks=torch.from_numpy(boxes_of(*boxes, size=SIZE)),
        forest=EntityForest([-1, 0, 1]))
    crop = np.array([[1, 0, -46], [0, 1, -24], [0, 0, 1]])
    strong.set_metainfo(dict(
        homography_matrix=crop @ np.diag([.5, .5, 1])))
    found = build().project_pseudo_instances([weak], [strong])[0]
    found = found.gt_instances
    assert found.ancestors.tolist() == [[False, True], [False, False]]
    assert found.bboxes.tolist() == [[0, 0, 50, 40], [4, 6, 44, 36]]
    assert found.masks.areas().tolist() == [2000, 1200]


def test_a_mask_that_the_teachers_view_cuts_is_not_learnt():
    # The teacher sees the left half enlarged, the student the whole photo.
    boxes = [(0, 0, 96, 64), (10, 10, 40, 30), (80, 40, 94, 60)]
    weak, strong = view(1), view(1)
    weak.set_metainfo(dict(homography_matrix=np.diag([1., .5, 1])))
    weak.gt_instances = InstanceData(
        masks=torch.from_numpy(boxes_of(*boxes, size=SIZE)),
        forest=EntityForest([-1, 0, 0]))
    found = build().project_pseudo_instances([weak], [strong])[0]
    found = found.gt_instances
    assert found.bboxes.tolist() == [[5, 10, 20, 30], [40, 40, 47, 60]]
    assert not found.ancestors.any()


@pytest.mark.parametrize('boxes, scores', [
    ([], []),
    (BOXES, [0.1, 0.1, 0.1]),
])
def test_a_teacher_that_says_nothing(boxes, scores, monkeypatch, warnings):
    model = build()
    says(model, seen(*boxes, scores=scores), monkeypatch)
    for _ in range(2):
        losses = losses_of(model)
    for name, value in losses.items():
        assert torch.isfinite(value).all(), name
        if name.startswith('unsup_'):
            assert value == 0
    assert losses['sup_loss_mask'] > 0
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    assert all(p.grad is not None for p in model.student.parameters()
               if p.requires_grad)
    assert len(warnings) == 1 and 'sure of no mask' in warnings[0]


def test_a_teacher_that_says_everything(monkeypatch, warnings):
    # More masks than the student has queries, each the whole image.
    model = build()
    says(model, seen(*[(0, 0, 96, 64)] * 20, scores=[0.99] * 20), monkeypatch)
    for _ in range(2):
        losses = losses_of(model)
    assert all(torch.isfinite(value).all() for value in losses.values())
    assert losses['unsup_loss_mask'] > 0
    assert len(warnings) == 1 and 'every mask' in warnings[0]


def test_an_enlarged_view_counts_areas_of_the_whole_photo(monkeypatch):
    # Enlarged three times: 6144 pixels of it are 683 of the original.
    model = build()
    says(model, seen((0, 0, 96, 64), scores=[0.75]), monkeypatch)
    data = model.data_preprocessor(batch(), training=True)
    samples = data['data_samples']['unsup_teacher']
    for sample in samples:
        sample.set_metainfo(dict(homography_matrix=np.array(
            [[3., 0, -90], [0, 3, -30], [0, 0, 1]])))
    samples, info = model.get_pseudo_instances(
        data['inputs']['unsup_teacher'], samples)
    share = 6144 / 9 / (128 * 192)
    assert float(info['teacher_threshold']) == pytest.approx(
        (1 - (1 - share)**200) * 0.4 + 0.3)
    assert [float(info[f'teacher_{size}'])
            for size in ('small', 'medium', 'large')] == [1, 0, 0]


@pytest.mark.parametrize('weight', [1.0, 0.25, 0.0])
def test_what_the_teacher_leaves_open_counts_less(weight, monkeypatch):
    model = build(no_object_weight=weight)
    # One mask for the ten queries: nine are matched with nothing.
    says(model, seen(BOXES[0], scores=[0.99]), monkeypatch)
    whole = build()
    says(whole, seen(BOXES[0], scores=[0.99]), monkeypatch)
    gradients = []
    for each in (model, whole):
        losses = losses_of(each)
        losses['unsup_loss_cls'].backward()
        gradients.append(each.student.panoptic_head.cls_embed.bias.grad)
    changed = (gradients[0] - gradients[1]).abs().max() > 1e-6
    assert changed == (weight < 1)
    # Towards entity where nothing is said to be no object.
    assert weight > 0 or gradients[0][0] < 0 < gradients[0][1]


@pytest.mark.parametrize('weight', [1.0, 0.0])
def test_masks_that_all_leave_the_view_teach_no_object(weight, monkeypatch):
    model = build(no_object_weight=weight)
    # In the left half, which no student sees.
    says(model, seen((0, 0, 20, 20), scores=[0.99]), monkeypatch)
    data = model.data_preprocessor(batch(), training=True)
    for sample in data['data_samples']['unsup_student']:
        sample.set_metainfo(dict(homography_matrix=np.array(
            [[.5, 0, -48], [0, .5, 0], [0, 0, 1]])))
    losses = model.train()(data['inputs'], data['data_samples'], mode='loss')
    assert losses['unsup_loss_mask'] == 0
    assert (losses['unsup_loss_cls'] > 0) == (weight > 0)


@pytest.mark.parametrize('weight', [1.0, 0.5, 0.0])
def test_scores_are_learnt_from_the_teacher_by_their_weight(
        weight, monkeypatch):
    losses = []
    for model in (build(score_weight=weight), build()):
        says(model, seen(BOXES[0], scores=[0.99]), monkeypatch)
        losses.append(losses_of(model))
    for name, loss in losses[1].items():
        is_score = name.startswith('unsup_') and name.endswith('loss_cls')
        expected = loss * weight if is_score else loss
        assert torch.equal(losses[0][name], expected)
    assert losses[1]['unsup_d0.loss_cls'] > 0


def test_without_its_loss_the_teacher_is_not_asked(monkeypatch):
    model = build(unsup_weight=0.)
    monkeypatch.setattr(model.teacher, 'extract_feat', None)
    losses = losses_of(model)
    assert losses and all(name.startswith('sup_') for name in losses)


@pytest.mark.parametrize('who', ['teacher', 'student'])
def test_prediction_is_the_teachers_unless_asked(who):
    config = dict(predict_on=who) if who == 'student' else None
    model = build(config).eval()
    data = batch(1)
    data = dict(inputs=data['inputs']['sup'],
                data_samples=data['data_samples']['sup'])
    found = model.test_step(data)[0].pred_instances
    inner = getattr(model, who)
    data = model.data_preprocessor(data)
    expected = inner(**data, mode='predict')[0].pred_instances
    assert torch.equal(found.scores, expected.scores)
    assert isinstance(found.masks[0], dict)  # RLE, as test_cfg has it


@pytest.mark.parametrize('options, message', [
    (dict(cls_pseudo_thr=0.5), 'found cls_pseudo_thr'),
    (dict(score_thr=1.5), 'number in'),
    (dict(score_weight=-1), 'score_weight must be 0 or more, got -1'),
    (dict(ancestors='tree'), "'pairs' or 'closure', got 'tree'"),
    (dict(score_thr=dict(gamma=0.)), 'gamma must be 1 or more'),
])
def test_mistakes_in_the_configuration(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_a_view_that_does_not_say_where_it_is():
    model = build(score_thr=0.)
    data = model.data_preprocessor(batch(), training=True)
    del data['data_samples']['unsup_student'][0].homography_matrix
    with pytest.raises(ValueError, match='9.jpg has no homography_matrix'):
        model.train()(data['inputs'], data['data_samples'], mode='loss')
