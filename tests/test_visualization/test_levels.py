"""Predicted levels on their way to pictures, json and the viewer."""
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from sohes.evaluation.prediction_file import PredictionFile
from sohes.evaluation.predictions import (
    plain_prediction,
    predicted_entities,
)
from sohes.structures import EntityForest
from sohes.visualization import draw_forest, forest_visualizer
from sohes.visualization.forest_picture import _panels
from sohes.visualization.forest_visualizer import ForestVisualizer
from sohes.visualization.viewer import Photo
from sohes.visualization.viewer.photos import photo_record

#: What a model may say of masks of which none lies in another.
LEVELS = [0, 2, 1]


@pytest.fixture
def found() -> InstanceData:
    """Three masks apart, each a row of pixels."""
    masks = torch.zeros(3, 30, 20, dtype=torch.bool)
    for k in range(3):
        masks[k, 10 * k:10 * k + 5] = True
    return InstanceData(
        masks=masks, scores=torch.tensor([0.9, 0.8, 0.1]),
        labels=torch.zeros(3, dtype=torch.int64),
        bboxes=torch.zeros(3, 4), parents=torch.full((3, ), -1),
        levels=torch.tensor(LEVELS))


def test_panels_follow_predicted_levels():
    apart = EntityForest([-1, -1, -1])
    assert _panels(apart, np.array(LEVELS)) == [
        ('photo', None), ('whole entities (1)', [0]), ('parts (1)', [2]),
        ('subparts (1)', [1])]
    assert len(_panels(apart)) == 2
    with pytest.raises(ValueError, match='levels of shape'):
        draw_forest(np.zeros((30, 20, 3), np.uint8),
                    np.zeros((3, 30, 20), bool), apart, levels=[0])


def test_the_visualizer_draws_the_levels_of_the_masks_that_stay(
        found, monkeypatch, tmp_path):
    drawn = {}

    def draw(image, masks, forest, scores, levels):
        drawn.update(masks=len(masks), levels=levels.tolist())
        return image

    monkeypatch.setattr(forest_visualizer, 'draw_forest', draw)
    ForestVisualizer().add_datasample(
        'a', np.zeros((30, 20, 3), np.uint8),
        SimpleNamespace(pred_instances=found), pred_score_thr=0.5,
        out_file=tmp_path / 'a.jpg')
    assert drawn == dict(masks=2, levels=[0, 2])


def test_the_inferencer_s_dict_and_the_json_of_test_py(found, tmp_path):
    sample = SimpleNamespace(img_id=7, img_path='a.jpg',
                             pred_instances=found)
    assert plain_prediction(sample)['levels'] == LEVELS
    file = PredictionFile(tmp_path / 'out.json')
    file.add(7, predicted_entities(found))
    file.close()
    file.merge([7])
    rows = json.loads((tmp_path / 'out.json').read_text())
    assert [row['level'] for row in rows] == LEVELS
    del found.levels
    assert 'levels' not in plain_prediction(sample)


def test_the_viewer_s_record_and_what_it_saves(found):
    seen = predicted_entities(found)
    image = np.zeros((30, 20, 3), np.uint8)
    photo = Photo.of('a.jpg', image, seen)
    record = photo_record(photo, '')
    assert record['levels'] == LEVELS
    assert [row['level'] for row in photo.to_coco()['annotations']] == LEVELS
    with pytest.raises(ValueError, match='3 masks'):
        Photo('a.jpg', image, seen.rles, seen.forest, seen.scores,
              levels=[0])
    plain = Photo('a.jpg', image, seen.rles, seen.forest, seen.scores)
    assert 'levels' not in photo_record(plain, '')
    assert 'level' not in plain.to_coco()['annotations'][0]
