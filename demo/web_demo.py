# PYTHON_ARGCOMPLETE_OK
"""Drop a photo into a page of your browser and walk through its forest.

    python demo/web_demo.py                     # Phase 1, nothing is trained
    python demo/web_demo.py --weights dino_vitb8 \
        --phase1-config configs/sohes_phase1.py
    python demo/web_demo.py CONFIG CKPT         # a trained model
    python demo/web_demo.py CKPT
    python demo/web_demo.py sohes-vits14-demo   # the one in demo/models/

Photos stay on this machine. Without --phase1-config and --weights, Phase 1
takes those of `make demo`. Exit codes: 2 the command or a file is wrong, 130
interrupted.
"""
import argparse
import functools
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

from sohes.utils.arguments import ConfigOptions, trust_argument, vit_argument
from sohes.utils.completion import complete

PHASE1 = str(ROOT / 'configs' / 'sohes_phase1_cpu.py')
#: Of the viewer inside the page.
FRAME = ('width:100%;height:min(88vh,820px);border:1px solid #8884;'
         'border-radius:10px')
#: Before there is a photo.
EMPTY = '<p>The forest of the photo appears here.</p>'


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'must be at least 1, got {number}')
    return number


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', nargs='*', metavar='CONFIG CKPT',
                        help='of training; without: Phase 1')
    parser.add_argument('--weights', help="of Phase 1's ViT: name or file")
    parser.add_argument(
        '--phase1-config', metavar='PY', default=PHASE1)
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions,
                        metavar='KEY=VALUE',
                        help='of that configuration, such as '
                        'pseudo_labels.refiner=None, which is faster')
    parser.add_argument('--device', help='default: a GPU if there is one')
    parser.add_argument('--pred-score-thr', type=float, default=0.3,
                        help='a trained model leaves out what is less sure')
    parser.add_argument('--host', default='127.0.0.1',
                        help='0.0.0.0 lets other machines in')
    parser.add_argument('--port', type=int, default=7860)
    parser.add_argument('--max-upload', type=_positive, default=50,
                        metavar='MIB', help='of a photo')
    parser.add_argument('--max-pixels', type=_positive, default=40,
                        metavar='MILLIONS', help='of a photo')
    parser.add_argument('--max-queue', type=_positive, default=8,
                        metavar='N', help='photos that may wait')
    parser.add_argument('--max-seconds', type=_positive, default=300,
                        metavar='S', help='for a photo, which is then given '
                        'up')
    parser.add_argument('--quiet', action='store_true',
                        help='print errors only')
    trust_argument(parser)
    vit_argument(parser)
    complete(parser)
    args = parser.parse_args()
    if len(args.model) > 2:
        parser.error(f'CONFIG CKPT or CKPT, got {len(args.model)} files')
    if args.model and (args.weights or args.cfg_options):
        parser.error('--weights and --cfg-options are of Phase 1')
    if args.vit_weights and not args.model:
        parser.error('--vit-weights is of a trained model')
    return args


def build_finder(args: argparse.Namespace) -> Any:
    """What finds entities in a photo."""
    from sohes.apis.generate import phase1_config
    from sohes.apis.photo_entities import checkpoint_finder, phase1_finder
    if args.model:
        *config, weights = args.model
        return checkpoint_finder(config[0] if config else None, weights,
                                 args.device, args.pred_score_thr,
                                 args.trust_checkpoint, args.vit_weights)
    from sohes.models.backbones import resolve_demo_weights
    from sohes.utils.errors import said_in_a_sentence
    options = dict(args.cfg_options or {})
    if args.device:
        options['extractor.device'] = args.device
    config = phase1_config(args.phase1_config, options)
    weights = args.weights
    if weights is None and args.phase1_config == PHASE1:
        with said_in_a_sentence():
            weights = str(resolve_demo_weights())
    return phase1_finder(config, weights)


def build_page(look: Any, folder: str, title: str,
               max_queue: int = 8) -> Any:
    """The Gradio page.

    Args:
        look: from a file to its pixels and what was found, such as
            :class:`~sohes.apis.photo_worker.PhotoWorker`.
        folder: for files to download; emptied by whoever made it.
        title: what finds the entities, for people.
        max_queue: photos that may wait; who comes then is told so.
    """
    import gradio

    from sohes.visualization.viewer import Photo, photo_frame, write_masks

    def find(path: str | None) -> tuple[Any, Any, str]:
        from sohes.pseudo_labels.images import ImageError
        if path is None:
            return EMPTY, gradio.DownloadButton(visible=False), ''
        try:
            image, found = look(path)
        except ImageError as error:
            raise gradio.Error(str(error)) from error
        photo = Photo(os.path.basename(path), image, found.rles,
                      found.forest, found.scores, levels=found.levels)
        archive = tempfile.mkdtemp(dir=folder)
        target = Path(archive, f'{Path(path).stem}-masks.zip')
        write_masks(target, photo)
        count = len(found.rles)
        wholes = len(found.forest.roots)
        return (photo_frame(photo, FRAME),
                gradio.DownloadButton(value=str(target), visible=True),
                f'{count} masks, {wholes} whole entities')

    with gradio.Blocks(title='SOHES', analytics_enabled=False,
                       delete_cache=(3600, 3600)) as page:
        gradio.Markdown(f'# SOHES\nDrop a photo: entities, their parts and '
                        f'their parts. {title}')
        upload = gradio.File(label='photo', file_types=['image'],
                             type='filepath', height=120)
        note = gradio.Markdown('')
        viewer = gradio.HTML(EMPTY, min_height=80)
        masks = gradio.DownloadButton('Download masks and json (zip)',
                                      visible=False)
        upload.change(find, upload, [viewer, masks, note],
                      show_progress='full', concurrency_limit=1,
                      api_name='find')
    return page.queue(max_size=max_queue)


def serve(args: argparse.Namespace) -> None:
    """Serve the page until somebody interrupts."""
    from sohes.apis import UsageError
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise UsageError(f'the web demo needs gradio ({error}): pip install '
                         '"sohes[web]"') from error
    from sohes.apis.photo_worker import PhotoWorker
    look = PhotoWorker(functools.partial(build_finder, args),
                       args.max_seconds, args.max_pixels * 1_000_000)
    title = (f'Model: {Path(args.model[-1]).name}.' if args.model else
             f'Phase 1: {Path(args.phase1_config).stem}.')
    with tempfile.TemporaryDirectory(prefix='sohes-web-') as folder:
        page = build_page(look, folder, title, args.max_queue)
        try:
            page.launch(server_name=args.host, server_port=args.port,
                        share=False, quiet=args.quiet,
                        max_file_size=args.max_upload * 2**20,
                        prevent_thread_lock=True)
        except OSError as error:
            raise UsageError(f'port {args.port}: {error}; give another '
                             '--port') from error
        try:
            # Gradio's own waiting would swallow Ctrl-C.
            threading.Event().wait()
        finally:
            page.close(verbose=False)
            look.close()


def main() -> int:
    args = parse_args()
    from sohes.apis.command import run_command
    return run_command(lambda: serve(args), 'the same command starts again')


if __name__ == '__main__':
    sys.exit(main())
