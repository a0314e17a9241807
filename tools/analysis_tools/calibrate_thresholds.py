"""Choose merging thresholds by the number of masks they give (appendix D).

    python tools/analysis_tools/calibrate_thresholds.py \
        configs/sohes_phase1_cpu.py --img-dir PHOTOS --picture curve.png

Thresholds belong to the weights. The paper chose its own by the number of
pseudo-labels an image, under 200: this does the same, on a few photos and
without looking at any ground truth. It counts the regions of at least
`min_patches` at every threshold (the curve of figure 8), takes the highest
threshold at which the mix of all lower ones stays within the budget, and
prints a line for the configuration. With --count 3 the mix is of three, from
that one down to the lowest in equal steps, as HASSOD has three.

    python tools/analysis_tools/calibrate_thresholds.py \
        configs/sohes_phase1_cpu.py --img-dir PHOTOS --weights WEIGHTS \
        --preset preset.json

With --preset it chooses the feature, its block and the centring as well. Of
twelve settings, each with thresholds for the budget, it takes the one with the
most masks that return however the photo is flipped, cropped and rescaled,
times the share that it finds of what returns of the others. It writes that one
for --preset of generate_pseudo_labels.py. --gt and --gt-img-dir print how far
this measure, which looks at no annotation, follows AR. Photos that
cannot be read are left out. Exit codes: 0 done, 2 no threshold fits the
budget, or the command, its configuration or all photos are wrong, 130
interrupted.
"""
import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

import numpy as np
from mmengine.config import Config

from sohes.apis.command import run_command
from sohes.apis.generate import merge_options
from sohes.pseudo_labels.images import find_images, load_image
from sohes.pseudo_labels.merge_tree import MergeTree
from sohes.pseudo_labels.methods import LabelOptions, read_options
from sohes.pseudo_labels.proposals import pool_nodes, suppress_nodes
from sohes.utils.arguments import (
    at_least,
    num_photos_argument,
    old_spelling,
    options_argument,
    tool_parser,
    weights_argument,
)
from sohes.utils.errors import ImageError, UsageError, said_in_a_sentence
from sohes.utils.files import whole_file


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', metavar='CONFIG',
                        help='Configuration of Phase 1.')
    parser.add_argument('--img-dir', required=True,
                        help='Folder of photos; its subfolders are read, '
                        'too.')
    weights_argument(parser)
    num_photos_argument(parser, 'Photos of --img-dir, evenly spaced.',
                        '--images', default=16)
    parser.add_argument('--budget', type=float, default=200, metavar='N',
                        help='Masks of a photo at most, on average. Default: '
                        '%(default)s.')
    parser.add_argument('--lowest', type=float, metavar='THRESHOLD',
                        help='Lowest threshold, a cosine similarity. Default: '
                        'that of the preset of the weights.')
    parser.add_argument('--step', type=float, default=0.05,
                        metavar='THRESHOLD',
                        help='Distance of two thresholds, a cosine '
                        'similarity. Default: %(default)s.')
    parser.add_argument('--count', type=at_least(1), metavar='N',
                        help='Thresholds in the mix. Default: all, --step '
                        'apart.')
    parser.add_argument('--out', metavar='JSON',
                        help='Json to write the curve and the choice into.')
    parser.add_argument('--picture', metavar='PNG',
                        help='Picture of the curve to write.')
    parser.add_argument('--json', help=argparse.SUPPRESS)
    parser.add_argument('--preset', metavar='JSON',
                        help='Also choose feature, block and centring, and '
                        'write them into this json.')
    parser.add_argument('--gt', metavar='JSON',
                        help='Ground truth, a COCO json: compare the measure '
                        'of --preset with AR@1000 on its photos.')
    parser.add_argument('--gt-img-dir', help='Folder of the photos of --gt.')
    action = parser.add_argument(
        '--num-gt-photos', type=at_least(1), default=25, metavar='N',
        help='Photos of --gt, evenly spaced. Default: %(default)s.')
    old_spelling(parser, action, '--gt-images')
    options_argument(parser, 'pseudo_labels.image_size=518')
    args = parser.parse_args()
    if (args.gt is None) != (args.gt_img_dir is None) or (
            args.gt and not args.preset):
        parser.error('--gt goes with --gt-img-dir and --preset')
    if args.step <= 0:
        parser.error(f'--step must be above 0, got {args.step}')
    # As it once was: --out for the picture, --json for the json.
    if args.out and not args.out.endswith('.json'):
        args.picture, args.out = args.picture or args.out, None
    args.out = args.out or args.json
    return args


def count_masks(trees: Sequence[MergeTree], thresholds: Sequence[float],
                options: LabelOptions) -> float:
    """Masks an image after tree NMS, mean over trees."""
    counts = []
    for tree in trees:
        nodes = pool_nodes(tree, thresholds)
        nodes = nodes[tree.area[nodes] >= options.min_patches]
        counts.append(len(suppress_nodes(tree, nodes, options.nms_iou)))
    return float(np.mean(counts))


def calibrate(trees: Sequence[MergeTree], lowest: float, step: float,
              budget: float, options: LabelOptions,
              count: int | None = None) -> dict:
    """The two curves, and the thresholds that fit the budget.

    Args:
        trees (Sequence): of the photos.
        lowest (float): threshold; those above it are ``step`` apart.
        step (float): see there.
        budget (float): masks an image, at most.
        options (LabelOptions): what counts as a mask.
        count (int, optional): thresholds in a mix; None: all lower ones.

    Returns:
        dict: ``thresholds`` rising, ``alone`` and ``mixed`` masks an image
        at each (with the lower ones), ``chosen`` falling.
    """
    # + 0.0: no threshold is written -0.0
    rising = (np.round(np.arange(lowest, 1.0, step), 6) + 0.0).tolist()
    alone = [count_masks(trees, [t], options) for t in rising]
    mixes = [_spread(rising[k::-1], count) for k in range(len(rising))]
    mixed = [count_masks(trees, mix, options) for mix in mixes]
    fitting = [k for k, count in enumerate(mixed) if count <= budget]
    chosen = mixes[max(fitting)] if fitting else []
    return dict(thresholds=rising, alone=alone, mixed=mixed, chosen=chosen)


def _spread(falling: list[float], count: int | None) -> list[float]:
    """All, or so many of them from the first to the last."""
    if count is None or count >= len(falling):
        return falling
    places = np.linspace(0, len(falling) - 1, count).round().astype(int)
    return [falling[place] for place in places]


def plot(curve: dict, budget: float, path: str) -> None:
    """Figure 8: masks an image over the threshold."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(figsize=(6, 4), layout='constrained')
    axes.plot(curve['thresholds'], curve['alone'], 'o-', ms=3,
              label='one threshold')
    axes.plot(curve['thresholds'], curve['mixed'], 's-', ms=3,
              label='this and all lower ones')
    axes.axhline(budget, color='0.5', ls='--', lw=1)
    axes.annotate(f'budget {budget:g}', (curve['thresholds'][0], budget),
                  xytext=(0, 3), textcoords='offset points', color='0.4')
    if curve['chosen']:
        axes.axvline(curve['chosen'][0], color='tab:green', lw=1)
        axes.annotate(f'highest chosen: {curve["chosen"][0]:g}',
                      (curve['chosen'][0], 0), xytext=(-4, 4), ha='right',
                      textcoords='offset points', color='tab:green')
    axes.set_xlabel('merging threshold (cosine similarity)')
    axes.set_ylabel('masks an image')
    axes.set_ylim(0)
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(frameon=False, loc='upper left')
    with whole_file(Path(path), binary=True) as file:
        figure.savefig(file, dpi=150, format='png')


def evenly(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many items, evenly spaced from the first to the last."""
    every = np.linspace(0, len(items) - 1, min(most, len(items)))
    return [items[k] for k in sorted(set(every.round().astype(int).tolist()))]


def read_photos(folder: str, names: Sequence[str],
                most: int) -> list[np.ndarray]:
    """Photos that are evenly spaced over the folder.

    Raises:
        ImageError: none of these can be read; the first one's reason.
    """
    photos, broken = [], []
    for name in evenly(names, most):
        try:
            photos.append(load_image(Path(folder) / name))
        except ImageError as error:
            print(f'not read: {error}', file=sys.stderr)
            broken.append(error)
    if not photos:
        raise broken[0]
    return photos


def search(args: argparse.Namespace, arguments: dict[str, Any],
           options: LabelOptions, photos: list[np.ndarray]) -> None:
    """Choose feature, block and centring too.

    Raises:
        UsageError: no setting stays within the budget.
    """
    from sohes.apis.preset_search import (
        all_settings,
        measure,
        rank_correlation,
        write_preset,
    )
    from sohes.evaluation.coco_files import read_ground_truth
    from sohes.models.backbones import ViTFeatureExtractor
    from sohes.weights import load_vit_weights
    from sohes.weights.vit_zoo import locate_weights
    depth = load_vit_weights(locate_weights(arguments['weights']).path).depth
    truth = []
    if args.gt:
        rows = list(read_ground_truth(args.gt).values())
        truth = [(load_image(Path(args.gt_img_dir) / row['file_name']),
                  row['masks']) for row in evenly(rows, args.num_gt_photos)]
    print('feature block centre  masks     that  % found  times' +
          ('     AR' if truth else ''))
    print('                              return  of others')
    found = measure(
        all_settings(depth), lambda feature, block: ViTFeatureExtractor(
            **dict(arguments, feature=feature, block=block)), photos, options,
        lambda trees: calibrate(trees, args.lowest if args.lowest is not None
                                else -0.2, args.step, args.budget, options,
                                args.count)['chosen'], truth)
    if not found:
        raise UsageError('no setting has thresholds within --budget '
                         f'{args.budget:g}; raise it or lower --lowest')
    if truth:
        print(f'rank correlation of their product with AR@1000 on '
              f'{len(truth)} photos of {args.gt}, {len(found)} settings: '
              f'{rank_correlation(found):.2f}')
    write_preset(found[0], Path(args.preset),
                 weights=Path(arguments['weights']).name, photos=len(photos))
    print(f'chosen: {found[0].feature} of block {found[0].block}, centring '
          f'{"on" if found[0].center else "off"}, thresholds '
          f'{found[0].thresholds}; written to {args.preset}')


def run(args: argparse.Namespace) -> None:
    """Count and print.

    Raises:
        UsageError: no threshold stays within the budget.
    """
    with said_in_a_sentence():
        config = Config.fromfile(args.config)
        merge_options(config, args.cfg_options)
        options = read_options(config.pseudo_labels.to_dict())
        names = find_images(args.img_dir)
        from sohes.models.backbones import ViTFeatureExtractor
        arguments = config.extractor.to_dict()
        arguments['weights'] = args.weights or arguments['weights']
        photos = read_photos(args.img_dir, names, args.num_photos)
        if args.preset:
            search(args, arguments, options, photos)
            return
        extractor = ViTFeatureExtractor(**arguments)
    trees = [
        MergeTree.from_features(extractor([photo], options.image_size)[0])
        for photo in photos
    ]
    lowest = args.lowest
    if lowest is None:
        lowest = extractor.preset.thresholds[-1]
    curve = calibrate(trees, lowest, args.step, args.budget, options,
                      args.count)
    print('threshold   alone   with all lower')
    for row in zip(curve['thresholds'], curve['alone'], curve['mixed']):
        print('{:9.2f}{:8.1f}{:17.1f}'.format(*row))
    if not curve['chosen']:
        raise UsageError(f'even threshold {lowest} alone gives more than '
                         f'{args.budget:g} masks an image; lower --lowest or '
                         'raise --budget')
    print(f'\non {len(trees)} photos, at most {args.budget:g} masks an '
          f'image:\npseudo_labels = dict(thresholds='
          f'{tuple(curve["chosen"])})')
    if args.out:
        with whole_file(Path(args.out)) as file:
            file.write(json.dumps(curve, indent=1) + '\n')
    if args.picture:
        plot(curve, args.budget, args.picture)
        print(f'curve: {args.picture}')


def main() -> int:
    args = parse_args()
    return run_command(lambda: run(args), 'nothing was written')


if __name__ == '__main__':
    sys.exit(main())
