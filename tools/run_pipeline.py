"""From a folder of photos to a published model: Phases 1, 2 and 3.

    python tools/run_pipeline.py PHOTOS --out-dir OUT

writes OUT/labels.json, OUT/phase2/, OUT/phase3/, OUT/sohes-HASH.pth and
OUT/report.html, which begins with whether the model is better than its labels.
Stopped, or killed, it continues when the same command is given again; a stage
that is done is not done again. Of 40 photos and more a twentieth, 4 to 12, is
set aside for that comparison: no training sees them.

    --preset cpu      two CPU cores and a night: a frozen ViT-S/14 (default
                      without GPU)
    --preset 1gpu     24 GB: ViT-B/16 at 640 pixels (default under --gpus 8)
    --preset 8gpu     80 GB each: the paper's model (default from 8 on)
    --gpus 8          processes, one a GPU; without GPUs on the CPUs. With
                      several the learning rate follows their number
    --partition NAME  through Slurm, GPUS_PER_NODE and SRUN_ARGS as usual

Exit codes: 0 done, 1 a stage was stopped, 2 the command or the data is wrong,
130 interrupted, 70 a fault of the program.
"""
import argparse
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sohes.utils.interrupts import quiet_imports

quiet_imports(__name__)

from sohes.environment import check_environment

check_environment()

from mmengine.config import Config

from sohes.apis.command import CRASHED, run_command
from sohes.apis.label_free import set_aside
from sohes.apis.last_checkpoint import last_checkpoint
from sohes.pseudo_labels.images import find_images
from sohes.utils.arguments import (
    at_least,
    num_photos_argument,
    tool_parser,
    weights_argument,
)
from sohes.utils.errors import UsageError, said_in_a_sentence
from sohes.utils.files import whole_file
from sohes.utils.locks import sole_command
from sohes.utils.made_with import (
    check_settings,
    read_settings,
    write_settings,
)
from sohes.utils.photo_files import photos_digest

_LOG = logging.getLogger('run_pipeline')
PRESETS = {
    'cpu': ('sohes_phase1_cpu.py', 'phase2/sohes_phase2_cpu.py',
            'phase3/sohes_phase3_cpu.py'),
    '1gpu': ('sohes_phase1.py', 'phase2/sohes_phase2_1x24gb.py',
             'phase3/sohes_phase3_1x24gb.py'),
    '8gpu': ('sohes_phase1.py', 'phase2/sohes_phase2_8gpu.py',
             'phase3/sohes_phase3_8gpu.py'),
}


class CommandFailed(Exception):
    """A stage ended with an exit code; it has said why."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.exit_code = code if code in (2, CRASHED, 130) else 1


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('photos', metavar='PHOTOS',
                        help='Folder of photos; its subfolders are read, too.')
    parser.add_argument('--out-dir', required=True,
                        help='Folder to write into.')
    parser.add_argument('--preset', choices=PRESETS,
                        help='Configurations for a machine, see above. '
                        'Default: by the GPUs that are there.')
    weights_argument(parser)
    for phase in (1, 2, 3):
        parser.add_argument(f'--phase{phase}-config', metavar='CONFIG',
                            help=f'Configuration of Phase {phase}. Default: '
                            'that of the preset.')
        parser.add_argument(f'--phase{phase}-options', nargs='+', default=[],
                            metavar='KEY=VALUE',
                            help='Override keys of that configuration.')
    parser.add_argument('--gpus', type=at_least(1), default=1, metavar='N',
                        help='Processes, one for each GPU. Default: '
                        '%(default)s.')
    parser.add_argument('--partition', metavar='NAME',
                        help='Slurm partition to submit to. Default: '
                        'everything runs on this machine.')
    num_photos_argument(parser, 'Photos in the report.', '--pictures',
                        default=6, least=0)
    parser.add_argument(
        '--quiet', action='store_true',
        help='Print only the errors of the stages; their log files have the '
        'rest.')
    return parser.parse_args()


class Pipeline:
    """The stages, each once.

    Beside the outputs stands OUT/stages/NAME.json: the settings that decide
    a stage's output, those of the stages before it as well, how often it was
    started and, once it is done, the seconds of its last start.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.out = Path(args.out_dir).resolve()
        self.photos = Path(args.photos).resolve()
        with said_in_a_sentence():
            self.names = find_images(self.photos)
        preset = args.preset
        if preset is None:
            import torch
            # Where slurm is asked from there need be no GPU.
            gpu = args.partition or torch.cuda.is_available()
            preset = ('8gpu' if args.gpus >= 8 else '1gpu') if gpu else 'cpu'
        self.configs = [
            Path(getattr(args, f'phase{phase}_config')
                 or ROOT / 'configs' / PRESETS[preset][phase - 1])
            for phase in (1, 2, 3)
        ]
        for config in self.configs:
            if not config.is_file():
                raise UsageError(f'{config}: no such configuration file')
        self.settings: dict[str, Any] = dict(
            photos=photos_digest(self.photos, self.names))
        self.stages: list[dict[str, Any]] = []
        self.aside: list[str] = []

    def run(self) -> Path:
        """Do what is not done yet; the report."""
        self._check_link()
        with sole_command(self.out):
            (self.out / 'stages').mkdir(exist_ok=True)
            return self._run()

    def _check_link(self) -> None:
        """Raise a UsageError if OUT/images is a folder of other photos."""
        link = self.out / 'images'
        if (link.exists() and not link.is_symlink()
                and not link.samefile(self.photos)):
            raise UsageError(
                f'{link} is there already and is not {self.photos}; Phases 2 '
                'and 3 look for the photos there: choose another --out-dir')

    def _link_photos(self) -> None:
        """Let OUT/images be the photos, wherever they are by now."""
        link = self.out / 'images'
        if link.is_symlink() and not (link.exists()
                                      and link.samefile(self.photos)):
            link.unlink()
        if not link.exists():
            link.symlink_to(self.photos)

    def _run(self) -> Path:
        """All stages, one after the other."""
        labels = self.out / 'labels.json'
        self._stage('phase1', self._decides(1), lambda: self._phase1(labels))
        # Not before the photos are known to be those of the other stages.
        self._link_photos()
        self._set_aside()
        for phase in (2, 3):
            self._stage(f'phase{phase}', self._decides(phase),
                        lambda phase=phase: self._train(phase))
        self._stage('publish', {}, self._publish)
        self._stage('compare', {}, self._compare)
        self._stage('report', dict(photos=self.args.num_photos),
                    self._report)
        return self.out / 'report.html'

    def _set_aside(self) -> None:
        """Keep photos from training, where its datasets are ours."""
        found = [Config.fromfile(config).train_dataloader.dataset.type
                 for config in self.configs[1:]]
        if found == ['sohes.EntityDataset', 'sohes.TwoStreamDataset']:
            self.aside = set_aside(self.names)
        with whole_file(self.out / 'set_aside.json') as file:
            json.dump(self.aside, file, indent=1)

    def _decides(self, phase: int) -> dict[str, Any]:
        """What decides a phase's output, beside the stages before it."""
        config = Config.fromfile(self.configs[phase - 1]).to_dict()
        return json.loads(json.dumps(dict(
            config=config, options=getattr(self.args, f'phase{phase}_options'),
            weights=self.args.weights, gpus=self.args.gpus,
            set_aside=self.aside if phase > 1 else []), default=str))

    def _stage(self, name: str, decides: dict[str, Any], run: Any) -> None:
        """Run a stage unless it is done; keep what it says of itself."""
        self.settings = {**self.settings, name: decides}
        path = self.out / 'stages' / f'{name}.json'
        before = read_settings(path) or {}
        if path.exists():
            if 'settings' not in before:
                raise UsageError(f'{path} is damaged, or of another version; '
                                 'remove it, and the stage is done again')
            check_settings(
                f'{self.out}: {name} was begun with', before['settings'],
                self.settings, 'choose another --out-dir, or remove '
                f'{name} and what follows it, and {path}')
        # Relative to OUT, which may have been moved.
        if 'output' in before and (self.out / before['output']).exists():
            _LOG.info('%s is done: %s', name, self.out / before['output'])
            self.stages.append(before)
            return
        starts = before.get('starts', 1) + 1 if before else 1
        record = dict(name=name, settings=self.settings, starts=starts)
        write_settings(path, record)
        _LOG.info('== %s', name)
        started = time.monotonic()
        output, note = run()
        record.update(output=str(output.relative_to(self.out)), note=note,
                      seconds=time.monotonic() - started)
        write_settings(path, record)
        self.stages.append(record)

    def _phase1(self, labels: Path) -> tuple[Path, str]:
        weights = ['--weights', self.args.weights] if self.args.weights else []
        # 1: some files could not be read, which it has said.
        self._launch('generate', 'generate_pseudo_labels.py', 1,
                     ['--img-dir', str(self.photos), '--out', str(labels),
                      *weights, *['--quiet'] * self.args.quiet], [],
                     allowed=(0, 1))
        if not labels.is_file():
            raise CommandFailed(f'phase1 ended without {labels}', 1)
        return labels, f'{len(self.names)} images'

    def _train(self, phase: int) -> tuple[Path, str]:
        model = 'model' if phase == 2 else 'model.detector'
        options = [f'data_root={self.out}/']
        if self.args.weights:
            options.append(f'{model}.backbone.weights={self.args.weights}')
        if self.aside:
            # Relative to data_root: OUT may be moved and the training go on.
            options += [
                f'train_dataloader.dataset.{key}exclude_file=set_aside.json'
                for key in
                (('labeled.', 'unlabeled.') if phase == 3 else ('', ))]
        if phase == 3:
            options.append(f'load_from={_last_checkpoint(self.out, 2)}')
        arguments = ['--work-dir', str(self.out / f'phase{phase}'), '--resume']
        config = Config.fromfile(self.configs[phase - 1])
        if self.args.gpus > 1 and config.get('auto_scale_lr'):
            arguments.append('--auto-scale-lr')
        self._launch('train', 'train.py', phase, arguments, options)
        return _last_checkpoint(self.out, phase), ''

    def _launch(self, kind: str, script: str, phase: int,
                arguments: list[str], options: list[str],
                allowed: tuple[int, ...] = (0, )) -> None:
        """Run a script of tools/ on the machines that were asked for."""
        config = str(self.configs[phase - 1])
        tools, gpus = ROOT / 'tools', str(self.args.gpus)
        if self.args.partition:
            command = [f'{tools}/slurm_{kind}.sh', self.args.partition,
                       f'sohes-phase{phase}', config]
            if kind == 'train':  # the script wants the work dir itself
                command.append(arguments[1])
                arguments = arguments[2:]
        elif self.args.gpus > 1:
            command = [f'{tools}/dist_{kind}.sh', config, gpus]
        else:
            command = [sys.executable, f'{tools}/{script}', config]
        options += getattr(self.args, f'phase{phase}_options')
        if options:
            arguments = [*arguments, '--cfg-options', *options]
        self._start([*command, *arguments], f'phase{phase}', allowed)

    def _start(self, command: list[str], name: str,
               allowed: tuple[int, ...] = (0, )) -> None:
        """Run a command to its end; another exit code ends this one."""
        path = f'{Path(sys.executable).parent}:{os.environ.get("PATH", "")}'
        code = subprocess.run(
            command,
            # Training writes its log into a file of its work dir as well.
            stdout=subprocess.DEVNULL if self.args.quiet else None,
            env=dict(os.environ, PATH=path,
                     GPUS=str(self.args.gpus))).returncode
        if code not in allowed:
            raise CommandFailed(f'{name} was stopped with exit code {code}; '
                                'the same command continues', code)

    def _publish(self) -> tuple[Path, str]:
        from sohes.apis.publish import publish_model
        path = publish_model(_last_checkpoint(self.out, 3),
                             self.out / 'sohes.pth')
        return path, f'{path.stat().st_size / 2**20:.0f} MiB'

    def _compare(self) -> tuple[Path, str]:
        """Labels and model side by side, without ground truth."""
        path, model = self.out / 'report/compare.json', self._model()
        path.parent.mkdir(exist_ok=True)
        vit, options = self._vit_weights(model), self.args.phase1_options
        names = ['--names', str(self.out / 'set_aside.json')]
        self._start([
            sys.executable, f'{ROOT}/tools/analysis_tools/compare_views.py',
            str(self.configs[0]), str(model), '--img-dir', str(self.photos),
            '--out', str(path), *['--quiet'] * self.args.quiet,
            *(names if self.aside else []),
            *(['--weights', self.args.weights] if self.args.weights else []),
            *(['--vit-weights', vit] if vit else []),
            *(['--cfg-options', *options] if options else [])], 'compare')
        return path, ('photos that were set aside' if self.aside else
                      'photos that the model was trained on')

    def _model(self) -> Path:
        """The published model."""
        return self.out / next(stage['output'] for stage in self.stages
                               if stage['name'] == 'publish')

    def _report(self) -> tuple[Path, str]:
        from sohes.experiments.run_report import (
            Stage,
            loss_pictures,
            write_report,
        )
        compared = json.loads(
            (self.out / 'report/compare.json').read_text('utf-8'))
        path = self.out / 'report.html'
        pictures = [*loss_pictures(self.out), *self._pictures()]
        write_report(
            path, f'SOHES on {self.photos.name}', [
                Stage(s['name'], s['output'], s['seconds'], s['note'],
                      s.get('starts', 1)) for s in self.stages
            ], [(text, picture.relative_to(self.out).as_posix())
                for text, picture in pictures],
            f'{compared["sentence"]} Compared on {self.stages[-1]["note"]}.',
            compared['table'])
        return path, ''

    def _vit_weights(self, model: Path) -> str | None:
        """The ViT that training read, where the model is without it."""
        from sohes.apis.checkpoint_config import checkpoint_config
        from sohes.apis.checkpoints import read_checkpoint
        from sohes.apis.models_without_vit import DIGEST
        if DIGEST not in read_checkpoint(model)['meta']:
            return None
        path = _last_checkpoint(self.out, 3)
        config = checkpoint_config(path, read_checkpoint(path)['meta'])
        return config.model.detector.backbone.weights

    def _pictures(self) -> list[tuple[str, Path]]:
        """Phase 1's labels and the model's predictions of a few photos."""
        from sohes.apis import EntityInferencer
        from sohes.datasets import EntityIndex
        from sohes.experiments.run_report import entity_pictures
        model = self._model()
        return entity_pictures(
            self.out / 'report', self.photos,
            EntityIndex.open(self.out / 'labels.json'), EntityInferencer(
                weights=model, show_progress=False,
                vit_weights=self._vit_weights(model)), self.args.num_photos)


def _last_checkpoint(out: Path, phase: int) -> Path:
    path = last_checkpoint(out / f'phase{phase}')
    if path is None:
        raise CommandFailed(f'phase{phase} left no checkpoint in '
                            f'{out / f"phase{phase}"}', 1)
    return path


def main() -> int:
    args = parse_args()
    logging.basicConfig(level=logging.ERROR if args.quiet else logging.INFO,
                        format='%(message)s')

    def run() -> None:
        report = Pipeline(args).run()
        if not args.quiet:
            print(f'look at {report}')

    return run_command(run, 'the same command continues')


if __name__ == '__main__':
    sys.exit(main())
