"""The whole picture, on photos of every shape."""
import json

import numpy as np
import pytest
from PIL import Image

from sohes.structures import EntityForest
from sohes.visualization import draw_forest
from sohes.visualization.forest_picture import _panels, _tree_title
from sohes.visualization.tree_layout import TreeLayout


def nested(height: int, width: int) -> np.ndarray:
    """A whole, two parts, a subpart and one more whole."""
    masks = np.zeros((5, height, width), bool)
    masks[0, :, :width * 3 // 4] = True
    masks[1, :height // 2, :width // 2] = True
    masks[2, height // 2:, :width // 2] = True
    masks[3, :height // 4, :width // 4] = True
    masks[4, :, width * 3 // 4:] = True
    return masks


def red(height: int, width: int) -> np.ndarray:
    """A red photo: blue if channels were swapped."""
    return np.full((height, width, 3), (220, 20, 10), np.uint8)


@pytest.mark.parametrize('size', [
    (60, 90), (90, 60), (512, 512), (40, 900), (900, 40), (1, 1), (1, 700),
    (700, 1), (2, 3), (1700, 2100)])
def test_every_shape_of_photo(size) -> None:
    masks = nested(*size)
    picture = draw_forest(red(*size), masks, EntityForest.from_masks(masks),
                          scores=np.linspace(0, 1, 5))
    assert picture.dtype == np.uint8
    assert picture.shape[1:] == (1880, 3) and picture.shape[0] < 1500
    # The photo is there, as red as it was.
    assert (picture == [220, 20, 10]).all(axis=2).sum() >= 100
    assert (picture[:20] == 255).all() and (picture[-10:] == 255).all()


@pytest.mark.parametrize('masks', [
    np.zeros((0, 50, 70), bool), np.zeros((3, 50, 70), bool),
    np.ones((4, 50, 70), bool), []])
def test_no_empty_and_equal_masks(masks) -> None:
    picture = draw_forest(red(50, 70), masks, EntityForest.from_masks(masks))
    assert (picture == [220, 20, 10]).all(axis=2).sum() > 10000


def test_one_panel_a_level() -> None:
    chain = [-1, 0, 1, 2, 3]
    assert _panels(EntityForest(chain)) == [
        ('photo', None), ('whole entities (1)', [0]), ('parts (1)', [1]),
        ('subparts (3)', [2, 3, 4])]
    assert _panels(EntityForest([-1, 0])) == [
        ('photo', None), ('whole entities (1)', [0]), ('parts (1)', [1])]
    assert _panels(EntityForest([])) == [('photo', None)]


def test_the_title_says_what_is_left_out() -> None:
    forest = EntityForest([-1] * 9)
    layout = TreeLayout(centers={0: (0., 0.), 1: (9., 0.)}, hidden={1: 3},
                        hidden_trees=4)
    assert _tree_title(forest, layout) == (
        'forest of 9 masks: the 2 largest that fit (+k: k more below; 4 more '
        'in trees not drawn)')
    assert _tree_title(EntityForest([]), TreeLayout()) == 'no masks'
    assert _tree_title(EntityForest([-1]), TreeLayout(
        centers={0: (0., 0.)})) == 'forest of 1 mask'


def test_a_picture_is_a_function_of_its_input(rng) -> None:
    image = rng.integers(0, 256, (80, 120, 3)).astype(np.uint8)
    masks = rng.random((20, 80, 120)) < 0.5
    forest = EntityForest.from_masks(masks)
    before = image.copy(), masks.copy()
    first = draw_forest(image, masks, forest)
    np.testing.assert_array_equal(first, draw_forest(image, masks, forest))
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(masks, before[1])


def test_the_width_is_an_argument() -> None:
    masks = nested(60, 90)
    forest = EntityForest.from_masks(masks)
    for width in (800, 1000):
        assert draw_forest(red(60, 90), masks, forest,
                           width=width).shape[1] == width
    with pytest.raises(ValueError, match='at least 800'):
        draw_forest(red(60, 90), masks, forest, width=799)


@pytest.mark.parametrize('image, masks, scores, message', [
    (red(9, 9)[..., 0], 1, None, r'image must be \(H, W, 3\) uint8'),
    (red(9, 9) / 255, 1, None, 'image must be'),
    (red(0, 9), 0, None, 'image must be'),
    (red(9, 8), 1, None, r'masks are \(9, 9\), the image \(9, 8\)'),
    (red(9, 9), 2, None, '2 masks, but a forest of 1'),
    (red(9, 9), 1, np.ones(2), r'1 masks, but scores of shape \(2,\)'),
])
def test_what_does_not_belong_together(image, masks, scores,
                                       message) -> None:
    with pytest.raises(ValueError, match=message):
        draw_forest(image, np.ones((masks, 9, 9), bool),
                    EntityForest([-1] * min(masks, 1)), scores)


def test_real_photo_with_many_masks(shared_data) -> None:
    folder = shared_data / 'bsds500'
    data = json.loads((folder / 'entities_val.json').read_text())
    row = next(i for i in data['images'] if i['file_name'] == '216081.jpg')
    image = np.asarray(
        Image.open(folder / 'images' / 'val' / row['file_name']))
    rles = [a['segmentation'] for a in data['annotations']
            if a['image_id'] == row['id']]
    forest = EntityForest.from_masks(rles)
    assert len(forest) == 238 and forest.depth.max() == 4
    picture = draw_forest(image, rles, forest)
    # Many colours, and white between them.
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10000
