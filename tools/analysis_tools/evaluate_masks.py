"""Class-agnostic AR and AP of masks against any COCO ground truth.

    python tools/analysis_tools/evaluate_masks.py \
        --gt instances_val2017.json --pred labels.json --out metrics.json

prints AR@1000, AR by COCO's sizes, AP and masks per image, as the tables of
the paper do, and AR@1, 10, 100, AP@100, AP50, AP75 and recall by IoU: in
percent, all classes as one. Only images of the ground truth
count. Exit codes: 0 done, 2 one sentence on bad input, 130 interrupted.
"""
import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sohes.utils.errors import FileError
from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

from sohes.apis.command import run_command
from sohes.evaluation.coco_files import EvaluationInput, read_evaluation_input
from sohes.evaluation.mask_metrics import MaskMetrics, evaluate_masks
from sohes.utils.arguments import at_least, old_spelling, tool_parser
from sohes.utils.files import whole_file
from sohes.version import __version__


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__)
    parser.add_argument('--gt', required=True, metavar='JSON',
                        help='Ground truth: a COCO json, whose classes count '
                        'as one.')
    parser.add_argument(
        '--pred', required=True, metavar='JSON', help='Predictions: what '
        'generate_pseudo_labels.py wrote, any COCO dataset json with scores, '
        'or a list of COCO results. Images are matched by file name where '
        'both files have names, else by id.')
    parser.add_argument(
        '--max-dets', type=at_least(1), default=1000, metavar='N',
        help='Predictions of an image that count, the surest first. Default: '
        '%(default)s.')
    parser.add_argument(
        '--only-predicted', action='store_true', help='Leave out images '
        'without predictions, such as those that were not labelled.')
    action = parser.add_argument(
        '--out', metavar='JSON',
        help='Also write the metrics, in percent, into this json.')
    old_spelling(parser, action, '--json')
    return parser.parse_args()


def describe(data: EvaluationInput, max_dets: int) -> dict[str, int]:
    """Counts what went in, for the report."""
    return {
        'images': len(data.images),
        'gt_masks': sum(len(i.gt_rles) - sum(i.gt_crowd)
                        for i in data.images),
        'gt_crowd_regions': sum(sum(i.gt_crowd) for i in data.images),
        'predictions': sum(len(i.rles) for i in data.images),
        'images_without_predictions': sum(not i.rles for i in data.images),
        'images_over_max_dets': sum(
            len(i.rles) > max_dets for i in data.images),
        'ignored_images': data.ignored_images,
        'ignored_predictions': data.ignored_masks,
    }


def print_report(args: argparse.Namespace, data: EvaluationInput,
                 counts: dict[str, int], metrics: MaskMetrics) -> None:
    """Prints the counts and the table."""
    print(f'ground truth  {args.gt}: {counts["images"]} images, '
          f'{counts["gt_masks"]} masks, '
          f'{counts["gt_crowd_regions"]} crowd regions')
    print(f'predictions   {args.pred}: {counts["predictions"]} masks; '
          f'{counts["images_without_predictions"]} images have none')
    if 2 * counts['images_without_predictions'] > counts['images']:
        print('warning       images without predictions count as missed; '
              '--only-predicted leaves them out')
    if counts['ignored_images']:
        print(f'ignored       {counts["ignored_images"]} images that are not '
              f'in the ground truth, with {counts["ignored_predictions"]} '
              'predictions')
    if counts['images_over_max_dets']:
        print(f'cut           {counts["images_over_max_dets"]} images have '
              f'more than {args.max_dets} predictions; the best count')
    if data.scores_missing:
        print('scores        none given: all predictions count as equally '
              'good, so AP means little')
    cells = {
        name: '-' if value is None else f'{value:.1f}'
        for name, value in metrics.percentages().items()
    }
    names = list(cells)
    # The columns of the paper's tables first, recall by IoU last.
    for columns in names[:6], names[6:-10], names[-10:]:
        print()
        for row in columns, [cells[name] for name in columns]:
            print('  '.join(f'{cell:>{max(len(name), 6)}}'
                            for name, cell in zip(columns, row)))
    print(f'\nclass-agnostic, percent, IoU 0.50:0.95; S up to 32^2 pixels, '
          f'M to 96^2, L above; {args.max_dets} predictions an image where '
          'no other number is said; R@: recall at that IoU')


def evaluate(args: argparse.Namespace) -> None:
    """Reads, scores, writes and prints.

    Raises:
        FileError: A file cannot be evaluated.
    """
    data = read_evaluation_input(args.gt, args.pred)
    if args.only_predicted:
        data.images = [image for image in data.images if image.rles]
        if not data.images:
            raise FileError(f'{args.pred}: --only-predicted leaves no image, '
                            'for none has a prediction')
    metrics = evaluate_masks(data.images, args.max_dets)
    counts = describe(data, args.max_dets)
    if args.out:
        with whole_file(Path(args.out)) as file:
            file.write(json.dumps({
                **metrics.percentages(), 'unit': 'percent',
                'gt': args.gt, 'pred': args.pred, **counts,
                'max_dets': args.max_dets, 'sohes': __version__,
            }, indent=2) + '\n')
    print_report(args, data, counts, metrics)


def main() -> int:
    """Runs the evaluation.

    Returns:
        The exit code.
    """
    args = parse_args()
    return run_command(lambda: evaluate(args), 'nothing was written')


if __name__ == '__main__':
    sys.exit(main())
