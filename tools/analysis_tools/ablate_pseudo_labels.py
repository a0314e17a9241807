"""The paper's ablations of Phase 1, on photos with ground truth.

    python tools/analysis_tools/ablate_pseudo_labels.py \
        configs/sohes_phase1_cpu.py --weights WEIGHTS \
        --img-dir VAL --gt entities_val.json --out-dir OUT

writes OUT/ablations.md and OUT/ablations.json: table 2 (steps: each threshold
alone, their mix, local re-clustering, the refiners), 6a (theta_small), 6b
(theta_cover) and 7 (weights: patch size and resolution; several --weights and
--image-sizes give several blocks), with the paper's rows quoted below ours.
The cut at max_masks by score, which is ours, is left out: it hides what a row
has found. Work that rows share is done once and charged to each. Both files
are written anew after every photo, so a run that is stopped leaves the tables
so far. Exit codes: 0 done, 2 bad input.
"""
import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
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
from sohes.experiments.ablations import (
    CoverChange,
    PhotoLabeller,
    Row,
    SharedFeatures,
    read_photos,
    step_rows,
    theta_small_rows,
    weights_rows,
)
from sohes.experiments.tables import ablation_tables, ablations_markdown
from sohes.pseudo_labels.images import load_image
from sohes.pseudo_labels.options import ExploreOptions, with_thresholds
from sohes.pseudo_labels.refinement import build_refiner
from sohes.utils.arguments import (
    options_argument,
    spaced_photos_argument,
    tool_parser,
)
from sohes.utils.errors import UsageError
from sohes.utils.files import whole_file
from sohes.utils.progress import Progress
from sohes.version import __version__


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', metavar='CONFIG',
                        help='Configuration of Phase 1.')
    parser.add_argument('--gt', required=True, metavar='JSON',
                        help='Ground truth: a COCO json, whose classes count '
                        'as one.')
    parser.add_argument('--img-dir', required=True,
                        help='Folder of the photos of --gt.')
    parser.add_argument('--out-dir', required=True,
                        help='Folder to write into.')
    tables = list(ablation_tables())
    parser.add_argument('--tables', nargs='+', choices=tables, default=tables,
                        help='Tables to make. Default: all.')
    parser.add_argument('--weights', nargs='+', metavar='WEIGHTS',
                        help='Weights of the ViT, names or files; all but '
                        'the first count for table 7 alone. Default: those of '
                        'the configuration.')
    parser.add_argument('--image-sizes', nargs='+', type=int, metavar='PIXELS',
                        help='Sides of the input in pixels, for table 7. '
                        'Default: that of the configuration.')
    spaced_photos_argument(parser)
    options_argument(parser, 'pseudo_labels.max_candidates=400')
    return parser.parse_args()


def build_extractors(args: argparse.Namespace,
                     config: Config) -> dict[str, Any]:
    """By file name or name of the zoo, each read before the first photo."""
    from sohes.models.backbones import ViTFeatureExtractor
    arguments = config.extractor.to_dict()
    names = args.weights or [arguments['weights']]
    if 'weights' not in args.tables:
        names = names[:1]
    return {
        Path(name).name: ViTFeatureExtractor(**dict(arguments, weights=name))
        for name in names
    }


def rows_of(name: str, extractor: Any, args: argparse.Namespace,
            options: ExploreOptions, first: bool) -> dict[str, list[Row]]:
    """The rows of each table that one ViT labels."""
    options = replace(
        with_thresholds(options, extractor),
        # The cut by score is ours, and hides what a row has found.
        max_masks=options.max_candidates)
    tables = {}
    if first and 'steps' in args.tables:
        tables['steps'] = step_rows(options)
    if first and 'theta_small' in args.tables:
        tables['theta_small'] = theta_small_rows(options)
    if first and 'theta_cover' in args.tables:
        tables['theta_cover'] = [Row({}, options)]
    if 'weights' in args.tables:
        trained_at = (
            extractor.vit.patch_resolution[0] * extractor.patch_size)
        tables['weights'] = [
            row for size in args.image_sizes or [options.image_size]
            for row in weights_rows(
                replace(options, image_size=size), name,
                extractor.patch_size, trained_at)
        ]
    return tables


def label_photos(photos: list[dict], extractor: Any, rows: list[Row],
                 progress: Progress) -> Iterator[None]:
    """Label every photo with every row; stops after each."""
    features = SharedFeatures(extractor)
    for photo in photos:
        labeller = PhotoLabeller(load_image(photo['path']), features)
        for row in rows:
            if not row.not_run:
                row.add(photo['masks'], *labeller.label(row.options))
        features.forget()
        progress.step()
        yield


def run(args: argparse.Namespace) -> None:
    """Label, count and write."""
    try:
        config = Config.fromfile(args.config)
        merge_options(config, args.cfg_options)
        options = ExploreOptions.from_dict(config.pseudo_labels.to_dict())
        build_refiner(options.refiner)
        photos = read_photos(args.gt, args.img_dir, args.num_photos,
                             args.every)
        extractors = build_extractors(args, config)
        out = Path(args.out_dir)
        out.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, ImportError, TypeError,
            AttributeError) as error:
        raise UsageError(str(error)) from error
    tables: dict[str, list[Row]] = {}
    cover = CoverChange()
    with Progress(len(photos) * len(extractors)) as progress:
        for number, (name, extractor) in enumerate(extractors.items()):
            found = rows_of(name, extractor, args, options, number == 0)
            warm_up(extractor, sum(found.values(), [])[-1])
            for table, rows in found.items():
                tables.setdefault(table, []).extend(rows)
            for _ in label_photos(photos, extractor,
                                  sum(found.values(), []), progress):
                if 'theta_cover' in found:
                    cover.add(found['theta_cover'][0].masks[-1].rles)
                text = write(tables, cover, extractors, args, out)
    print(text)
    print(f'{out / "ablations.md"}, {out / "ablations.json"}')


def warm_up(extractor: Any, row: Row) -> None:
    """Not timed: the first calls compile and allocate."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    PhotoLabeller(noise, SharedFeatures(extractor)).label(row.options)


def write(tables: dict[str, list[Row]], cover: CoverChange,
          extractors: dict[str, Any], args: argparse.Namespace,
          out: Path) -> str:
    """The tables as markdown and json."""
    results, captions = {}, {}
    for name, rows in tables.items():
        labelled = [row for row in rows if row.masks or row.not_run]
        results[name] = (cover.results() if name == 'theta_cover' else
                         [row.result() for row in labelled])
        weights = list(extractors)[:None if name == 'weights' else 1]
        count = min(len(row.masks) for row in rows if row.masks)
        captions[name] = (f'{", ".join(weights)}; {count} photos of '
                          f'{Path(args.gt).name}')
    text = ablations_markdown(results, captions)
    info = dict(
        version=__version__,
        config=Path(args.config).name,
        cfg_options=args.cfg_options or {},
        weights={name: each.weights_hash
                 for name, each in extractors.items()},
        tables=captions)
    with whole_file(out / 'ablations.md') as file:
        file.write(text)
    with whole_file(out / 'ablations.json') as file:
        json.dump(dict(info=info, **results), file, indent=1)
        file.write('\n')
    return text


def main() -> int:
    args = parse_args()
    return run_command(lambda: run(args), 'the tables of the photos so far '
                       'are in --out-dir')


if __name__ == '__main__':
    sys.exit(main())
