"""EntityInferencer and demo/image_demo.py, as a person calls them."""
import json
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from pycocotools import mask as coco_mask

from sohes.apis import EntityInferencer, UsageError
from sohes.apis.photo_entities import checkpoint_finder
from sohes.apis.video import Frames
from sohes.pseudo_labels.images import load_image
from sohes.structures import EntityForest
from sohes.utils.errors import ImageError
from sohes.visualization import draw_forest
from tests.tiny_entities import make_entities, save_tiny_model

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> tuple[Path, Path]:
    return save_tiny_model(tmp_path_factory.mktemp('trained'), 'tiny')


@pytest.fixture(scope='module')
def inferencer(trained) -> EntityInferencer:
    return EntityInferencer(*trained, device='cpu', show_progress=False)


@pytest.fixture
def photos(tmp_path) -> Path:
    """Six photos of 80 x 60 to 80 pixels, 0.png to 5.png."""
    return make_entities(tmp_path / 'entities') / 'images'


def test_one_photo_with_picture_and_json(inferencer, photos, tmp_path):
    result = inferencer(str(photos / '3.png'), out_dir=tmp_path / 'out',
                        no_save_pred=False, return_vis=True,
                        pred_score_thr=0)
    found, = result['predictions']
    assert found['img_path'] == str(photos / '3.png')
    assert len(found['masks']) > 1
    assert found['scores'] == sorted(found['scores'], reverse=True)
    decoded = coco_mask.decode(found['masks'])
    assert decoded.shape == (72, 80, len(found['scores']))
    for mask, (left, top, right, bottom) in zip(
            np.moveaxis(decoded, 2, 0), found['bboxes']):
        rows, columns = np.nonzero(mask)
        assert (columns.min(), rows.min(), columns.max() + 1,
                rows.max() + 1) == (left, top, right, bottom)
    assert len(EntityForest(found['parents'])) == len(found['masks'])
    written = json.loads((tmp_path / 'out/preds/3.png.json').read_text())
    assert written == found
    picture = np.asarray(Image.open(tmp_path / 'out/vis/3.png.forest.jpg'))
    assert picture.shape == result['visualization'][0].shape
    assert picture.shape[1] == 1880


def test_an_array_is_bgr_and_gives_what_its_file_gives(inferencer, photos):
    path = str(photos / '0.png')
    by_path, = inferencer(path)['predictions']
    by_array, = inferencer(cv2.imread(path))['predictions']
    assert by_array.pop('img_path') is None
    by_path.pop('img_path')
    assert by_array == by_path


def test_a_batch_gives_what_single_photos_give(inferencer, photos):
    paths = [str(photos / f'{number}.png') for number in range(3)]
    batch = inferencer(paths, batch_size=2)['predictions']
    for path, found in zip(paths, batch):
        single, = inferencer(path)['predictions']
        assert found['img_path'] == path
        assert found['parents'] == single['parents']
        assert np.allclose(found['scores'], single['scores'], atol=1e-4)


def test_a_folder_with_folders_and_a_broken_file(inferencer, photos,
                                                 tmp_path, caplog):
    (photos / 'deep').mkdir()
    shutil.copy(photos / '0.png', photos / 'deep' / '0.png')
    (photos / 'broken.jpg').write_bytes(b'no image')
    result = inferencer(str(photos), out_dir=tmp_path / 'out',
                        no_save_pred=False)
    assert len(result['predictions']) == 7
    assert 'broken.jpg' in caplog.text
    for name in ('0.png', 'deep/0.png'):
        assert (tmp_path / f'out/vis/{name}.forest.jpg').exists()
        assert (tmp_path / f'out/preds/{name}.json').exists()


def test_two_files_of_one_name_do_not_share_their_output(
        inferencer, photos, tmp_path):
    (photos / 'deep').mkdir()
    shutil.copy(photos / '1.png', photos / 'deep' / '0.png')
    inferencer([str(photos / '0.png'), str(photos / 'deep' / '0.png')],
               out_dir=tmp_path / 'out')
    assert len(list((tmp_path / 'out/vis').iterdir())) == 2


def test_a_score_threshold_is_of_pictures_only(inferencer, photos):
    path = str(photos / '0.png')
    every = inferencer(path, return_vis=True, pred_score_thr=0)
    none = inferencer(path, return_vis=True, pred_score_thr=1.1)
    assert every['predictions'] == none['predictions']
    bare = draw_forest(load_image(path), [], EntityForest([]))
    assert np.array_equal(none['visualization'][0], bare)
    assert not np.array_equal(every['visualization'][0], bare)


def test_samples_on_request(inferencer, photos):
    sample, = inferencer(
        str(photos / '0.png'), return_datasamples=True)['predictions']
    assert len(sample.pred_instances.parents) == len(
        sample.pred_instances.scores)


def test_a_video(inferencer, photos, tmp_path):
    path = tmp_path / 'film.avi'
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*'MJPG'), 5, (80, 60))
    for number in range(5):
        frame = cv2.imread(str(photos / f'{number}.png'))
        writer.write(cv2.resize(frame, (80, 60)))
    writer.release()
    result = inferencer(str(path), batch_size=2, out_dir=tmp_path / 'out',
                        no_save_pred=False, pred_score_thr=0)
    assert len(result['predictions']) == 5
    assert json.loads(
        (tmp_path / 'out/preds/film.json').read_text()) == result[
            'predictions']
    painted = cv2.VideoCapture(str(tmp_path / 'out/vis/film.mp4'))
    assert painted.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    assert painted.get(cv2.CAP_PROP_FPS) == 5
    read, frame = painted.read()
    assert read and frame.shape == (60, 80, 3)
    assert [p.name for p in (tmp_path / 'out/vis').iterdir()] == ['film.mp4']


@pytest.fixture
def film(tmp_path) -> Path:
    """Three frames, as browsers record them: the head has no duration."""
    path = tmp_path / 'a.webm'
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'VP80'), 5,
                            (64, 48))
    for grey in (0, 60, 120):
        video.write(np.full((48, 64, 3), grey, np.uint8))
    video.release()
    content = path.read_bytes()
    at = content.find(b'\x44\x89')  # EBML's Duration
    assert at > 0
    length = content[at + 2] & 0x7f
    # Void of the same length.
    path.write_bytes(content[:at] + bytes([0xec, 0x80 | (length + 1)]) +
                     bytes(length + 1) + content[at + 3 + length:])
    return path


def test_a_video_without_a_duration(inferencer, film, tmp_path):
    assert Frames(str(film)).count is None
    result = inferencer(str(film), out_dir=tmp_path / 'out')
    assert len(result['predictions']) == 3
    painted = cv2.VideoCapture(str(tmp_path / 'out/vis/a.mp4'))
    assert painted.get(cv2.CAP_PROP_FRAME_COUNT) == 3


def test_a_folder_may_end_as_a_video_does(inferencer, photos, tmp_path):
    folder = photos.rename(tmp_path / 'holiday.mp4')
    assert len(inferencer(str(folder))['predictions']) == 6


@pytest.mark.parametrize('size', [(900, 1), (1, 900), (1, 1)])
def test_very_thin_photos(inferencer, photos, size):
    name = photos / 'a_line.png'
    Image.new('RGB', size, 'red').save(name)
    found, = inferencer(str(name))['predictions']
    for mask in found['masks']:
        assert mask['size'] == [size[1], size[0]]
    assert len(inferencer(str(photos))['predictions']) == 7


def test_what_a_pipeline_chokes_on_is_named_and_left_out(
        trained, photos, caplog):
    """Published models may have mmdet's own Resize."""
    config = Config.fromfile(trained[0])
    config.test_dataloader.dataset.pipeline[1].type = 'mmdet.Resize'
    inferencer = EntityInferencer(config, trained[1], device='cpu',
                                  show_progress=False)
    name = photos / 'a_line.png'
    Image.new('RGB', (900, 1), 'red').save(name)
    assert len(inferencer(str(photos))['predictions']) == 6
    assert 'a_line.png: the test pipeline' in caplog.text
    with pytest.raises(ImageError, match=r'a_line\.png: the test pipeline'):
        inferencer(str(name))


def test_names_as_long_as_a_file_system_allows(inferencer, photos, tmp_path):
    name = photos / f'{"n" * 251}.png'
    (photos / '0.png').rename(name)
    inferencer(str(name), out_dir=tmp_path / 'out', no_save_pred=False)
    drawn, = (tmp_path / 'out' / 'vis').iterdir()
    assert drawn.name.endswith('.forest.jpg')
    assert len(list((tmp_path / 'out' / 'preds').iterdir())) == 1


def test_a_device_that_is_not_there(trained):
    with pytest.raises(UsageError, match='cuda:99'):
        EntityInferencer(*trained, device='cuda:99', show_progress=False)


def test_the_configuration_inside_the_checkpoint(trained, inferencer,
                                                 photos):
    path = str(photos / '0.png')
    for files in (dict(weights=trained[1]), dict(model=trained[1])):
        alone = EntityInferencer(**files, device='cpu', show_progress=False)
        assert alone(path) == inferencer(path)


@pytest.mark.parametrize(('change', 'words'), [
    (dict(weights=None), 'needs weights'),
    (dict(weights='none.pth'), 'none.pth: no such checkpoint'),
    (dict(model='none.py'), 'none.py: no such configuration'),
])
def test_a_wrong_file_is_named(trained, change, words):
    arguments = dict(model=trained[0], weights=trained[1]) | change
    with pytest.raises(UsageError, match=words):
        EntityInferencer(**arguments)


def test_a_checkpoint_of_another_model_is_named(trained, tmp_path):
    config = Config.fromfile(trained[0])
    config.model.panoptic_head.num_queries = 9
    with pytest.raises(UsageError, match='query_.*8x16, expected 9x16'):
        EntityInferencer(config, trained[1])
    torch.save(dict(state_dict=dict(x=torch.ones(1))), tmp_path / 'x.pth')
    with pytest.raises(UsageError, match='no configuration in it'):
        EntityInferencer(weights=tmp_path / 'x.pth')


def test_a_wrong_input_is_named(inferencer, tmp_path):
    with pytest.raises(ImageError, match='none.jpg: does not exist'):
        inferencer('none.jpg')
    with pytest.raises(UsageError, match='none.mp4: no such video'):
        inferencer('none.mp4')
    (tmp_path / 'text.mp4').write_text('no video')
    with pytest.raises(UsageError, match='text.mp4: expected a video'):
        inferencer(tmp_path / 'text.mp4')
    with pytest.raises(UsageError, match=r'found float64 of shape \(4, 4\)'):
        inferencer(np.zeros((4, 4)))
    with pytest.raises(UsageError, match='found int'):
        inferencer([3])
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UsageError, match='holds no image'):
        inferencer(str(tmp_path / 'empty'))


def test_the_demo(trained, photos, run_tool, tmp_path):
    def run(*args: str) -> subprocess.CompletedProcess:
        return run_tool('demo/image_demo.py', *args, '--out-dir',
                        tmp_path / 'out')

    done = run(photos / '2.png', *trained)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith('1 images, ')
    assert (tmp_path / 'out/vis/2.png.forest.jpg').exists()
    assert (tmp_path / 'out/preds/2.png.json').exists()
    quiet = run(photos / '2.png', *trained, '--quiet')
    assert (quiet.returncode, quiet.stdout) == (0, '')
    wrong = run('none.jpg', trained[1])
    assert wrong.returncode == 2
    assert wrong.stderr.splitlines()[-1] == 'error: none.jpg: does not exist'


def test_arrays_for_the_web_demo_are_rgb(trained, inferencer, photos):
    config, weights = trained
    find = checkpoint_finder(str(config), str(weights), 'cpu', 0.)
    image = load_image(photos / '3.png')
    expected, = inferencer(str(photos / '3.png'))['predictions']
    found = find(image)
    assert (coco_mask.decode(found.rles)
            == coco_mask.decode(expected['masks'])).all()
    assert found.forest == EntityForest(expected['parents'])
    for name, photo in (('3.png', photos / '3.png'),
                        ('photo', image[..., ::-1])):
        whole = inferencer.find(photo, 0.)
        assert whole.name == name
        assert (whole.image == image).all()
        assert whole.to_coco()['annotations'] == found.to_coco()['annotations']
