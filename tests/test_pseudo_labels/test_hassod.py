"""HASSOD's labels: clustering, the joint CRF, filters in order, levels."""
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from sohes.apis.generate import generate
from sohes.pseudo_labels import hassod
from sohes.pseudo_labels.coco_json import merge_shards
from sohes.pseudo_labels.hassod import HassodOptions, Partition, Partitions
from sohes.pseudo_labels.joint_crf import JointDenseCRF
from sohes.pseudo_labels.merge_tree import MergeTree
from sohes.pseudo_labels.methods import explore, read_options
from sohes.pseudo_labels.shards import ShardFolder, to_record
from sohes.structures import EntityForest
from tests.test_pseudo_labels.color_extractor import (
    BG,
    BODY,
    OTHER,
    PART,
    ColorExtractor,
    stripes,
)
from tests.test_pseudo_labels.oracle import (
    float_similarity,
    merge_all_edges,
)
from tests.test_tools.tiny_vit import save_tiny_vit

ROOT = Path(__file__).resolve().parents[2]
THRESHOLDS = (0.4, 0.2, 0.1)


def brute_force_partition(features: np.ndarray,
                          threshold: float) -> np.ndarray:
    """(h, w) the region of each patch, by looking at every edge again."""
    height, width, _ = features.shape
    region = np.arange(height * width)
    for kept, absorbed, similarity in merge_all_edges(
            features.astype(np.float64), float_similarity):
        if similarity < threshold:
            break
        region[region == absorbed] = kept
    return region.reshape(height, width)


@pytest.mark.parametrize('seed', range(4))
def test_three_thresholds_equal_a_brute_force(seed):
    features = np.random.default_rng(seed).normal(
        size=(7, 9, 4)).astype(np.float32)
    tree = MergeTree.from_features(features)
    sizes = []
    for threshold in THRESHOLDS:
        found = Partition.of_tree(tree, threshold)
        wanted = brute_force_partition(features, threshold)
        # The same partition under other names: pairs of patches agree.
        same = found.labels.ravel()[:, None] == found.labels.ravel()
        assert np.array_equal(same,
                              wanted.ravel()[:, None] == wanted.ravel())
        assert found.patches.tolist() == np.bincount(
            found.labels.ravel()).tolist()
        sizes.append(len(found.patches))
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 1


def test_the_image_is_squashed_before_the_vit_sees_it():
    seen = []

    def extractor(images, size):
        seen.append((images[0].shape, size))
        return np.ones((1, 4, 4, 3), np.float32)

    image = np.zeros((30, 50, 3), np.uint8)
    found = hassod.propose(image, extractor, HassodOptions(image_size=32))
    assert seen == [((32, 32, 3), 32)]
    assert found.size == (30, 50)
    assert len(found.items) == 3


def test_a_partition_of_too_many_regions_is_left_out_and_counted():
    features = np.random.default_rng(0).normal(
        size=(1, 8, 8, 16)).astype(np.float32)
    options = HassodOptions(image_size=32, max_regions=5,
                            thresholds=(0.9, -1.0))
    found = hassod.propose(np.zeros((32, 32, 3), np.uint8),
                           lambda images, size: features, options)
    assert found.counts['partitions_too_fine'] == 1
    assert [len(item.scores) for item in found.items] == [1]


def _finish(labels: np.ndarray, size: tuple[int, int] | None = None,
            **options):
    """Label one drawn partition, a pixel a patch, without a CRF."""
    options = HassodOptions(**{
        'image_size': labels.shape[0], 'refiner': None, 'min_area': 1,
        **options})
    count = labels.max() + 1
    partition = Partition(labels.astype(np.int32),
                          np.linspace(0.9, 0.8, count),
                          np.bincount(labels.ravel()))
    size = size or labels.shape
    return hassod.finish(np.zeros((*size, 3), np.uint8),
                         Partitions(size, [partition], {}), options)


#: 0 is around all, 1 a ring, 2 in the ring, 3 small in a corner.
DRAWN = np.array([
    [0, 0, 0, 0, 0, 0, 0, 3],
    [0, 1, 1, 1, 1, 1, 0, 3],
    [0, 1, 2, 2, 2, 1, 0, 0],
    [0, 1, 2, 2, 2, 1, 0, 0],
    [0, 1, 2, 2, 2, 1, 0, 0],
    [0, 1, 1, 1, 1, 1, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
])


def test_corners_count_as_pixels_of_the_four_corners():
    assert [hassod.corners(k == DRAWN) for k in range(4)] == [3, 0, 0, 1]


@pytest.mark.parametrize('max_corners, kept', [(4, 4), (3, 4), (2, 3),
                                               (0, 2)])
def test_corner_filter(max_corners, kept):
    found = _finish(DRAWN, max_corners=max_corners, fill_holes=False)
    assert len(found.rles) == kept
    assert found.counts['on_corners'] == 4 - kept


def test_area_filter_counts_pixels_of_the_photo_before_holes_are_filled():
    # At twice the size: 3 has 8 pixels, 2 has 36, the ring 64 of 100.
    areas = {2: 36, 1: 64}
    found = _finish(DRAWN, (16, 16), min_area=areas[2] + 1, max_corners=0)
    assert found.counts['too_small'] == 2
    assert [int(mask.sum()) for mask in found.masks()] == [100]


def test_hole_filter():
    ring = (DRAWN == 1)
    assert hassod.filled(ring).sum() == 25
    assert hassod.filled(ring[:4]).sum() == ring[:4].sum()  # open below
    assert sorted(_finish(DRAWN, max_corners=0).masks().sum((1, 2))) == [
        9, 25]
    assert sorted(_finish(DRAWN, max_corners=0, fill_holes=False).masks(
    ).sum((1, 2))) == [9, 16]


def test_filled_holes_make_levels():
    found = _finish(DRAWN)
    areas = found.masks().sum((1, 2)).tolist()
    levels = dict(zip(areas, found.forest.levels().tolist()))
    # All, the ring filled and the inside; the corner of 2 pixels is apart.
    assert levels == {62: 0, 25: 1, 9: 2, 2: 0}


def test_a_region_that_the_crf_moves_goes(monkeypatch):
    class Thief:
        """Gives the inside of the ring to the ring."""

        def probabilities(self, pixels, soft):
            soft = soft.copy()
            soft[1] += soft[2]
            soft[2] = 0
            return soft

    monkeypatch.setattr(hassod, 'build_refiner', lambda config: Thief())
    found = _finish(DRAWN, fill_holes=False)
    assert found.counts['changed_too_much'] == 1
    assert sorted(found.masks().sum((1, 2)).tolist()) == [2, 25, 37]


def test_duplicates_go_unless_the_switch_keeps_them():
    image = stripes(64, (32, BODY), (32, OTHER))
    for nms_iou, masks in ((0.9, 2), (1.0, 6)):
        options = read_options(dict(type='hassod', image_size=64,
                                    refiner=None, nms_iou=nms_iou))
        found = explore(image, ColorExtractor(), options)
        assert len(found.rles) == masks
        assert found.counts['duplicates'] == 6 - masks


def test_levels_of_a_painted_image_reach_the_json(tmp_path):
    image = stripes(64, (16, BG), (16, BODY), (16, PART), (16, OTHER))
    # 0.6 joins BODY and PART, 0.1 BG as well.
    options = read_options(dict(type='hassod', image_size=64, refiner=None,
                                thresholds=(0.9, 0.5, 0.1)))
    found = explore(image, ColorExtractor(), options)
    record = to_record('a.png', found)
    shards = ShardFolder(tmp_path / 'out.json', {}, ['a.png'], 1)
    shards.open()
    shards.write(0, [record])
    merge_shards(shards)
    rows = json.loads((tmp_path / 'out.json').read_text())['annotations']
    by_id = {row['id']: row for row in rows}
    depths = set()
    for row in rows:
        depth, above = 0, row
        while above['parent_id'] is not None:
            depth, above = depth + 1, by_id[above['parent_id']]
        assert row['level'] == min(depth, 2)
        depths.add(depth)
    assert depths == {0, 1, 2}
    assert sorted((row['bbox'][0], row['bbox'][2], row['level'])
                  for row in rows) == [(0, 16, 1), (0, 48, 0), (16, 16, 2),
                                       (16, 32, 1), (32, 16, 2), (48, 16, 0)]


def test_levels_end_at_subpart():
    assert EntityForest([-1, 0, 1, 2]).levels().tolist() == [0, 1, 2, 2]


def test_the_joint_crf_follows_the_colours_with_many_labels():
    image = stripes(40, (14, BG), (16, BODY), (10, OTHER))
    # Patches of 8 pixels put both borders 2 pixels too far to the right.
    labels = np.array([0, 0, 1, 1, 2])[None].repeat(5, 0)
    soft = hassod.enlarge(labels, 3, 40)
    painted = np.repeat(np.arange(3), (14, 16, 10))
    assert (soft.argmax(0) != painted).any()
    found = JointDenseCRF().probabilities(image, soft)
    assert found.shape == (3, 40, 40) and found.dtype == np.float32
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-4)
    assert (found.argmax(0) == painted).all()
    one = JointDenseCRF().probabilities(image, np.ones((1, 40, 40),
                                                       np.float32))
    assert (one == 1).all()


@pytest.mark.parametrize('values, message', [
    (dict(type='maskcut'), "must be 'hassod'"),
    (dict(type='hassod', local=None), "unknown key 'local'"),
    (dict(type='hassod', max_corners=5), 'max_corners'),
    (dict(type='hassod', min_area=0), 'min_area'),
    (dict(type='hassod', refiner=dict(type='densecrf')), 'single masks'),
    (dict(refiner=dict(type='joint_densecrf')), 'refines partitions'),
])
def test_bad_options_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        read_options(values)


def test_the_tool_s_function_labels_a_folder_with_the_configuration(
        tmp_path):
    save_tiny_vit(tmp_path / 'vit.pth')
    (tmp_path / 'photos').mkdir()
    Image.fromarray(stripes(60, (40, BG), (30, OTHER))).save(
        tmp_path / 'photos' / 'photo 1.png')  # not an integer
    config = Config.fromfile(ROOT / 'configs/hassod/hassod_phase1.py')
    config.merge_from_dict(dict(
        extractor=dict(weights=str(tmp_path / 'vit.pth'), num_heads=4,
                       feature='key', block=-1, center=True, device='cpu'),
        pseudo_labels=dict(image_size=128, thresholds=(0.6, 0.3, 0.0)),
        workers=0))
    out = tmp_path / 'labels.json'
    assert generate(config, str(tmp_path / 'photos'), str(out),
                    quiet=True) == 0
    labels = json.loads(out.read_text())
    assert labels['info']['description'] == 'Pseudo-labels of HASSOD'
    assert labels['info']['pseudo_labels']['type'] == 'hassod'
    assert labels['annotations']
    assert all(row['level'] in (0, 1, 2) for row in labels['annotations'])
    assert labels['annotations'][0]['segmentation']['size'] == [60, 70]


def test_calibration_mixes_as_many_thresholds_as_asked_for():
    tool = runpy.run_path(
        str(ROOT / 'tools/analysis_tools/calibrate_thresholds.py'))
    tree = MergeTree.from_features(np.random.default_rng(0).normal(
        size=(8, 8, 4)).astype(np.float32))
    curve = tool['calibrate']([tree], -0.2, 0.1, 20, HassodOptions(), 3)
    chosen = curve['chosen']
    assert len(chosen) == 3 and chosen[-1] == -0.2
    assert chosen[1] == pytest.approx((chosen[0] - 0.2) / 2, abs=0.051)
    place = curve['thresholds'].index(chosen[0])
    assert curve['mixed'][place] <= 20 < curve['mixed'][place + 1]
