"""What a training keeps of a frozen ViT: how much it is, and away with it.

    python tools/misc/feature_maps.py DIR/feature_maps
    python tools/misc/feature_maps.py DIR/feature_maps --delete

Training writes the maps that are missing by itself. Only maps are deleted;
whatever else is in the folder stays. Exit codes: 0 done, 2 no such folder.
"""
import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

from sohes.apis.command import run_command
from sohes.models.backbones.feature_maps import FeatureMapStore
from sohes.utils.arguments import tool_parser
from sohes.utils.errors import UsageError


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('folder', type=Path, metavar='DIR',
                        help='Folder of the maps.')
    parser.add_argument('--delete', action='store_true',
                        help='Delete the maps in it.')
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    """List or delete the maps."""
    if not args.folder.is_dir():
        raise UsageError(f'{args.folder} is no folder of feature maps')
    store = FeatureMapStore(args.folder)
    size = sum(path.stat().st_size for path in store.files()) / 1e9
    count = store.delete() if args.delete else len(store.files())
    print(f'{args.folder}: {count} maps, {size:.2f} GB'
          f'{", deleted" if args.delete else ""}')


def main() -> int:
    args = parse_args()
    return run_command(lambda: run(args), 'the same command goes on')


if __name__ == '__main__':
    sys.exit(main())
