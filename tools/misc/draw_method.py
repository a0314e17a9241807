"""The method in pictures: the figures of docs/method.md, from two photos.

    python tools/misc/draw_method.py PHOTO OTHER --weights WEIGHTS \
        --out-dir docs/images

draws phase1.jpg (clustering, second look, refinement, forest), phase2.jpg (an
image to learn from after copy-paste, and who is part of whom in it) and
phase3.jpg (a teacher's view, the student's, and equation 3). No model is
needed: where a teacher would speak, Phase 1's labels stand in.
"""
import argparse
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

import matplotlib
import numpy as np
import torch
from matplotlib.patches import Rectangle
from mmengine.config import Config
from mmengine.registry import init_default_scope

matplotlib.use('Agg')
import matplotlib.pyplot as plt

from sohes.apis import generate
from sohes.apis.command import run_command
from sohes.datasets import EntityIndex
from sohes.datasets.samplers import Draw
from sohes.models.backbones import ViTFeatureExtractor
from sohes.models.detectors.teacher_masks import (
    dynamic_threshold,
    project_masks,
)
from sohes.pseudo_labels.clustering import cluster_features
from sohes.pseudo_labels.images import load_image
from sohes.pseudo_labels.local import square_crop
from sohes.registry import DATASETS
from sohes.structures import EntityForest
from sohes.utils import register_all_modules
from sohes.utils.arguments import tool_parser, weights_argument
from sohes.visualization.panels import paint_masks

# A picture cannot show more, nor smaller ones.
MASKS = 40
VIEW = (384, 384)


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('photo', metavar='PHOTO', help='Photo to draw.')
    parser.add_argument('other', metavar='OTHER',
                        help='Photo to paste from, in phase2.jpg.')
    weights_argument(parser, required=True)
    parser.add_argument('--out-dir', default=str(ROOT / 'docs/images'),
                        help='Folder to write into. Default: %(default)s.')
    parser.add_argument('--seed', type=int, default=0, metavar='SEED',
                        help='Seed of the augmentations. Default: '
                        '%(default)s.')
    return parser.parse_args()


def show(axis: Any, picture: np.ndarray, title: str) -> None:
    axis.imshow(picture)
    axis.set_title(title, fontsize=10)
    axis.set_axis_off()


def painted(image: np.ndarray, masks: np.ndarray,
            forest: EntityForest | None = None) -> np.ndarray:
    """The photo under all of its masks, small over large."""
    return paint_masks(image, masks,
                       forest or EntityForest.from_masks(masks))


def regions(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A label map of patches over the photo it belongs to."""
    rows, columns = (
        (np.arange(side) * of // side) for side, of in
        zip(image.shape[:2], labels.shape))
    large = labels[rows][:, columns]
    return painted(image, np.stack([large == k for k in np.unique(large)]),
                   EntityForest(np.full(len(np.unique(large)), -1)))


def draw_phase1(image: np.ndarray, config: Config, weights: str,
                labels: Any) -> Any:
    """Figure 3 of the paper, for one photo."""
    extractor = ViTFeatureExtractor(weights)
    features = extractor([image], config.pseudo_labels.image_size)[0]
    levels = tuple(extractor.preset.thresholds)
    chosen = (levels[len(levels) // 3], levels[2 * len(levels) // 3])
    maps = cluster_features(features, chosen)
    figure, axes = plt.subplots(2, 3, figsize=(10.5, 5.4))
    axes = axes.ravel()
    show(axes[0], image, 'the photo')
    for axis, level, found in zip(axes[1:], chosen, maps):
        show(axis, regions(image, found),
             f'step 1: merged while similarity ≥ {level:g}')
    masks, forest = labels
    box = second_look(masks)
    crop = image[box[1]:box[3], box[0]:box[2]]
    show(axes[3], image, 'step 2: small regions are looked at again')
    axes[3].add_patch(Rectangle(box[:2], box[2] - box[0], box[3] - box[1],
                                fill=False, edgecolor='yellow',
                                linewidth=2))
    local = cluster_features(
        extractor([crop], config.pseudo_labels.local.image_size)[0],
        (chosen[1], ))[0]
    show(axes[4], regions(crop, local), 'the crop, clustered on its own')
    show(axes[5], painted(image, masks, forest),
         f'steps 3 and 4: the {len(masks)} best, refined, nested')
    return figure


def second_look(masks: np.ndarray) -> tuple[int, int, int, int]:
    """The crop around the largest mask whose crop leaves most out."""
    boxes = []
    for mask in masks:
        rows, columns = np.nonzero(mask)
        boxes.append(square_crop((columns.min(), rows.min(),
                                  columns.max() + 1, rows.max() + 1),
                                 mask.shape, 2.0, 160))
    few = [k for k in range(len(masks))
           if boxes[k][2] - boxes[k][0] <= masks[k].shape[0] / 2]
    return boxes[max(few, key=lambda k: masks[k].sum()) if few else -1]


def draw_phase2(sample: Any) -> Any:
    """What Phase 2 learns from: masks after copy-paste, and ancestors."""
    instances = sample['data_samples'].gt_instances
    image = sample['inputs'].permute(1, 2, 0).numpy()
    masks = instances.masks.dense().numpy()
    ancestors = instances.ancestors.numpy()
    # A tree's masks stand together, ancestors before descendants.
    forest = EntityForest.from_masks(masks)
    order = np.argsort(_depth_first(forest), kind='stable')
    figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.9))
    show(axes[0], image, 'resized, cropped, entities pasted on it')
    show(axes[1], painted(image, masks, forest),
         f'its {len(masks)} masks: what is hidden is cut off')
    axes[2].imshow(ancestors[order][:, order], cmap='Blues',
                   interpolation='nearest')
    axes[2].set_title('dark: the row is an ancestor of the column',
                      fontsize=10)
    axes[2].set_xticks([])
    axes[2].set_yticks([])
    return figure


def _depth_first(forest: EntityForest) -> np.ndarray:
    """(N,) the position of each node when trees are walked one by one."""
    children: dict[int, list[int]] = {}
    for node, parent in enumerate(forest.parents):
        children.setdefault(int(parent), []).append(node)
    place, stack, count = np.zeros(len(forest.parents), int), [], 0
    stack = children.get(-1, [])[::-1]
    while stack:
        node = stack.pop()
        place[node], count = count, count + 1
        stack += children.get(node, [])[::-1]
    return place


def draw_phase3(views: Any, masks: np.ndarray) -> Any:
    """What the teacher sees, what the student has to say of it, when."""
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.3))
    show(axes[1], views['inputs']['unsup_student'].permute(1, 2, 0).numpy(),
         "the student's view, strong")
    titles = ("the teacher's masks, weak view", 'they, for the student')
    for axis, branch, title in zip(
            axes[::2], ('unsup_teacher', 'unsup_student'), titles):
        sample = views['data_samples'][branch]
        picture = views['inputs'][branch].permute(1, 2, 0).numpy()
        seen = project_masks(torch.from_numpy(masks),
                             np.asarray(sample.homography_matrix),
                             picture.shape[:2]).numpy()
        seen = seen[seen.any((1, 2))]
        show(axis, painted(picture, seen) if len(seen) else picture, title)
    share = torch.logspace(-5, 0, 200)
    axes[3].semilogx(share, dynamic_threshold(share), linewidth=2)
    axes[3].set_title('equation 3: who is believed', fontsize=10)
    axes[3].set_xlabel('area of the mask by that of the image')
    axes[3].set_ylabel('least score')
    axes[3].grid(alpha=0.3)
    return figure


def pipelines(folder: Path) -> tuple[Any, Any]:
    """The datasets of the tiny configurations, at the size of a figure."""
    register_all_modules(init_default_scope=False)
    init_default_scope('mmdet')
    found = []
    for phase in (2, 3):
        config = Config.fromfile(
            ROOT / f'configs/tiny/sohes_phase{phase}_tiny.py')
        data = config.train_dataloader.dataset
        for part in (data.values() if phase == 3 else [data]):
            if isinstance(part, dict):
                part.data_root = f'{folder}/'
                _resize(part)
        found.append(DATASETS.build(data))
    return found[0], found[1]


def _resize(node: Any) -> None:
    for key, value in (node.items() if isinstance(node, dict)
                       else enumerate(node)):
        if key in ('scale', 'crop_size'):
            node[key] = VIEW
        elif key == 'ratio_range':
            node[key] = (1.0, 1.4)
        elif isinstance(value, (dict, list)):
            _resize(value)


def _number(views: Any) -> int:
    return int(Path(views['data_samples']['unsup_teacher'].img_path).stem)


def run(args: argparse.Namespace) -> None:
    """Draw the three figures."""
    logging.basicConfig(level=logging.WARNING)
    config = Config.fromfile(ROOT / 'configs/sohes_phase1_cpu.py')
    config.pseudo_labels.max_masks = MASKS
    out = Path(args.out_dir)
    out.mkdir(parents=True, exist_ok=True)
    image = load_image(args.photo)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / 'images').mkdir()
        for k, photo in enumerate((image, load_image(args.other))):
            plt.imsave(folder / f'images/{k}.png', photo)
        generate(config, str(folder / 'images'),
                 str(folder / 'labels.json'), weights=args.weights,
                 quiet=True)
        found = EntityIndex.open(folder / 'labels.json').entities(0).read()
        masks, forest = found.masks(), found.forest
        phase2, phase3 = pipelines(folder)
        for dataset in (phase2, phase3):
            dataset.full_init()
        draw = Draw(0, (args.seed, 0))
        pasted, views = phase2[draw], phase3[draw]
        # I2 is drawn at random; its labels are those of the first photo.
        while _number(views) != 0:
            draw = Draw(0, (draw.entropy[0] + 1, 0))
            views = phase3[draw]
    figures = dict(
        phase1=draw_phase1(image, config, args.weights, (masks, forest)),
        phase2=draw_phase2(pasted),
        phase3=draw_phase3(views, masks))
    for name, figure in figures.items():
        figure.tight_layout()
        figure.savefig(out / f'{name}.jpg', dpi=110,
                       pil_kwargs=dict(quality=85))
        print(out / f'{name}.jpg')


def main() -> int:
    args = parse_args()
    return run_command(lambda: run(args), 'nothing was drawn')


if __name__ == '__main__':
    sys.exit(main())
