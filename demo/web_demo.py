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

from sohes.utils.arguments import (
    at_least,
    device_argument,
    options_argument,
    quiet_argument,
    score_argument,
    tool_parser,
    trust_argument,
    vit_argument,
    weights_argument,
)

PHASE1 = str(ROOT / 'configs' / 'sohes_phase1_cpu.py')
#: Of the viewer inside the page.
FRAME = ('width:100%;height:min(88vh,820px);border:1px solid #8884;'
         'border-radius:10px')
#: Before there is a photo.
EMPTY = '<p>The forest of the photo appears here.</p>'


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('model', nargs='*', metavar='CONFIG CKPT',
                        help='Configuration and checkpoint of a trained '
                        'model, or the checkpoint alone. Default: Phase 1.')
    weights_argument(parser)
    parser.add_argument('--phase1-config', metavar='CONFIG', default=PHASE1,
                        help='Configuration of Phase 1. Default: %(default)s.')
    options_argument(parser, 'pseudo_labels.refiner=None')
    device_argument(parser)
    score_argument(parser, 'A trained model leaves out')
    parser.add_argument('--host', default='127.0.0.1',
                        help='Address to serve at; 0.0.0.0 lets other '
                        'machines in. Default: %(default)s.')
    parser.add_argument('--port', type=int, default=7860, metavar='PORT',
                        help='Port to serve at. Default: %(default)s.')
    parser.add_argument('--max-upload', type=at_least(1), default=50,
                        metavar='MIB', help='Size of a photo at most, in MiB. '
                        'Default: %(default)s.')
    parser.add_argument('--max-pixels', type=at_least(1), default=40,
                        metavar='MILLIONS', help='Size of a photo at most, in '
                        'millions of pixels. Default: %(default)s.')
    parser.add_argument('--max-queue', type=at_least(1), default=8,
                        metavar='N', help='Photos that may wait. Default: '
                        '%(default)s.')
    parser.add_argument('--max-seconds', type=at_least(1), default=300,
                        metavar='SECONDS', help='Seconds after which a photo '
                        'is given up. Default: %(default)s.')
    quiet_argument(parser)
    trust_argument(parser)
    vit_argument(parser)
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
    from demo_weights import offer_stand_in, resolve_demo_weights

    from sohes.apis.generate import phase1_config
    from sohes.apis.photo_entities import checkpoint_finder, phase1_finder
    if args.model:
        offer_stand_in()
        *config, weights = args.model
        return checkpoint_finder(config[0] if config else None, weights,
                                 args.device, args.pred_score_thr,
                                 args.trust_checkpoint, args.vit_weights)
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
        from sohes.utils.errors import ImageError
        if path is None:
            return EMPTY, gradio.DownloadButton(visible=False), ''
        try:
            image, found = look(path)
        except ImageError as error:
            raise gradio.Error(str(error)) from error
        photo = Photo.of(os.path.basename(path), image, found)
        archive = tempfile.mkdtemp(dir=folder)
        target = Path(archive, f'{Path(path).stem}-masks.zip')
        write_masks(target, photo)
        wholes = len(found.forest.roots)
        return (photo_frame(photo, FRAME),
                gradio.DownloadButton(value=str(target), visible=True),
                f'{len(found)} masks, {wholes} whole entities')

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
    from sohes.utils.errors import UsageError
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
