"""A checkpoint, Phase 1 and other methods on several datasets, as one table.

    python tools/eval_zero_shot.py CONFIG CKPT --datasets coco lvis
    python tools/eval_zero_shot.py --dataset mine=val.json:val/ \
        --labels labels.json --results-json CutLER=cutler.json

--datasets takes names of configs/datasets/, --dataset any COCO json and its
photos. FILE may hold {dataset}, which becomes each dataset's name.
--phase1-config labels the photos itself. In --out-dir appear table.md,
table.json, table.png and grid_DATASET.png, and predictions/ of the checkpoint:
a dataset that is there whole, of the same checkpoint, is not run again. The
paper's rows stand beside, marked as quoted, where the paper has the dataset.
Exit codes: 0 done, 2 the command, its configuration or its data is wrong, 130
interrupted.
"""
import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

from sohes.utils.arguments import (
    checkpoint_argument,
    num_photos_argument,
    old_spelling,
    parse_run_args,
    run_parser,
    weights_argument,
)


def parse_args() -> argparse.Namespace:
    parser = run_parser(__doc__, 'model.test_cfg.max_per_image=1000')
    parser.add_argument('config', nargs='?', metavar='CONFIG',
                        help='Configuration of the checkpoint.')
    checkpoint_argument(parser, nargs='?')
    parser.add_argument('--datasets', nargs='+', default=[], metavar='NAME',
                        help='Names of configs/datasets/, such as coco.')
    parser.add_argument('--dataset', action='append', default=[],
                        metavar='NAME=GT_JSON:IMG_DIR[:FOREST_JSON]',
                        help='Any other dataset: its COCO json, its photos '
                        'and maybe a json with parts. May be repeated.')
    parser.add_argument('--name', default='ours',
                        help='Name of the checkpoint in the table. Default: '
                        '%(default)s.')
    parser.add_argument('--results-json', action='append', default=[],
                        metavar='METHOD=FILE',
                        help='COCO results of another method. May be '
                        'repeated.')
    parser.add_argument('--labels', metavar='JSON',
                        help='Labels that generate_pseudo_labels.py wrote.')
    action = parser.add_argument(
        '--phase1-config', metavar='CONFIG', dest='phase1',
        help='Configuration of Phase 1 to label the photos with.')
    old_spelling(parser, action, '--phase1')
    weights_argument(parser)
    parser.add_argument('--out-dir', default='work_dirs/zero_shot',
                        help='Folder to write into. Default: %(default)s.')
    num_photos_argument(parser, 'Photos in the picture of each dataset; with '
                        '0 there is no picture.', '--grid-images', default=5,
                        least=0)
    args = parse_run_args(parser)
    if bool(args.config) != bool(args.checkpoint):
        parser.error('CONFIG and CKPT belong together')
    if args.phase1 and args.config and args.launcher != 'none':
        parser.error('with a launcher, run --phase1-config in a command of '
                     'its own first: its processes share no GPU')
    if not (args.datasets or args.dataset):
        parser.error('give --datasets or --dataset')
    if not (args.config or args.results_json or args.labels or args.phase1):
        parser.error('nothing to evaluate: give CONFIG CKPT, --labels, '
                     '--phase1-config or --results-json')
    return args


def find_datasets(args: argparse.Namespace) -> list:
    """The datasets of the command line, all there."""
    from sohes.experiments.zero_shot import EvalDataset
    from sohes.utils.errors import UsageError
    folder = ROOT / 'configs' / 'datasets'
    datasets = [EvalDataset.from_config(folder / f'{name}.py')
                for name in args.datasets]
    datasets += [EvalDataset.from_text(text) for text in args.dataset]
    names = [dataset.name for dataset in datasets]
    for dataset in datasets:
        dataset.check()
        if names.count(dataset.name) > 1:
            raise UsageError(f'two datasets are named {dataset.name}')
    return datasets


def find_predictions(args: argparse.Namespace, datasets: list) -> dict:
    """By method and dataset a file; makes those that are ours to make."""
    from mmengine.config import Config

    from sohes.apis import generate
    from sohes.experiments.zero_shot import parse_method, predict
    # What is given is looked for before anything is run.
    given = dict(parse_method(text, datasets) for text in args.results_json)
    methods = dict(parse_method(text, datasets) for text in (
        [f'Phase 1 labels={args.labels}'] if args.labels else []))
    photos = {d.name: d.photos() for d in datasets} if args.phase1 else {}
    out = Path(args.out_dir)
    if args.phase1:
        files = methods['Phase 1'] = {}
        for dataset in datasets:
            files[dataset.name] = out / 'phase1' / f'{dataset.name}.json'
            generate(Config.fromfile(args.phase1), dataset.img_dir,
                     str(files[dataset.name]), weights=args.weights,
                     launcher=args.launcher, names=photos[dataset.name])
    # Labels first: they are what the others are compared with.
    methods.update(given)
    if args.checkpoint:
        methods[args.name] = {
            dataset.name: predict(
                args.config, args.checkpoint, dataset, out / 'predictions',
                args.cfg_options, args.launcher, args.trust_checkpoint)
            for dataset in datasets
        }
    return methods


def evaluate(args: argparse.Namespace, datasets: list,
             methods: dict) -> None:
    """Scores all methods, writes the tables and the pictures."""
    from sohes.experiments.method_pictures import plot_scores, save_comparison
    from sohes.experiments.tables import (
        MethodScores,
        as_json,
        markdown,
        quoted_scores,
    )
    from sohes.experiments.zero_shot import read_scores, score_as_many
    from sohes.utils.files import whole_file
    from sohes.version import __version__
    out, names = Path(args.out_dir), [d.name for d in datasets]
    out.mkdir(parents=True, exist_ok=True)
    scores = {method: MethodScores(method) for method in methods}
    as_many: dict[str, MethodScores] = {}
    notes: list[str] = []
    for dataset in datasets:
        inputs = [(method, read_scores(dataset, files[dataset.name],
                                       scores[method], notes))
                  for method, files in methods.items()
                  if dataset.name in files]
        for method, data in inputs[1:]:
            (first, few) = inputs[0]
            if any(len(one.rles) > len(other.rles)
                   for one, other in zip(data.images, few.images)):
                name = f'{method}, as many masks'
                score_as_many(dataset, data, few,
                              as_many.setdefault(name, MethodScores(name)))
                notes.append(f'as many masks: of each image the best by '
                             f'score, as many as {first} has.')
        if inputs and args.num_photos > 0:
            save_comparison(out / f'grid_{dataset.name}.png', dataset, inputs,
                            args.num_photos)
    quoted = quoted_scores(names)
    rows = [*quoted, *scores.values(), *as_many.values()]
    notes = list(dict.fromkeys(notes))
    text = markdown(rows, names, notes)
    with whole_file(out / 'table.md') as file:
        file.write(text)
    with whole_file(out / 'table.json') as file:
        json.dump(dict(
            methods=as_json(rows), notes=notes, sohes=__version__,
            datasets={d.name: d.ann_file for d in datasets},
            checkpoint=args.checkpoint), file, indent=1)
    plot_scores(out / 'table.png', rows, names)
    print(text)
    print(f'table.md, table.json, table.png and pictures: {out}')


def main() -> int:
    args = parse_args()
    from mmengine.dist import get_dist_info

    from sohes.apis.command import run_command
    from sohes.utils.dist import close_dist
    from sohes.utils.locks import sole_command

    def run() -> None:
        datasets = find_datasets(args)
        with sole_command(args.out_dir):
            methods = find_predictions(args, datasets)
            first = get_dist_info()[0] == 0
            # The others need not wait, and lose patience, while one draws.
            close_dist()
            if first:
                evaluate(args, datasets, methods)

    return run_command(run, 'give the same command to go on')


if __name__ == '__main__':
    sys.exit(main())
