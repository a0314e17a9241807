"""Methods on datasets: runs what is not run yet, scores, draws (section 4).

A method is a file of predictions for each dataset: those of a checkpoint,
which are made here, labels of Phase 1, or any other's COCO results.
"""
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from sohes.apis.run_config import read_config
from sohes.apis.training import test_model
from sohes.evaluation.coco_files import EvaluationInput, read_evaluation_input
from sohes.evaluation.forest_pairs import (
    ForestCounts,
    annotated_entities,
    compare_forests,
)
from sohes.evaluation.mask_matching import detection_limits, match_image
from sohes.evaluation.mask_metrics import summarize
from sohes.evaluation.resampling import FEWEST_IMAGES, resampled_ar
from sohes.experiments.tables import MethodScores
from sohes.utils.errors import FileError, UsageError
from sohes.utils.files import sha256_of
from sohes.utils.json_stream import stream_images
from sohes.utils.made_with import read_settings, write_settings
from sohes.utils.names import name_fault
from sohes.utils.photo_files import photos_digest


@dataclass(frozen=True)
class EvalDataset:
    """Images with a ground truth.

    Attributes:
        name: As in paper_results.json, where the paper has it.
        ann_file: A COCO json.
        img_dir: Folder of its photos.
        has_parents: The forest is worth comparing, by ``parent_id`` or by
            coverage.
        forest_file: Where the forest has a ground truth of its own, with
            more masks; '': ``ann_file``.
    """
    name: str
    ann_file: str
    img_dir: str
    has_parents: bool = True
    forest_file: str = ''

    @classmethod
    def from_config(cls, path: Path) -> 'EvalDataset':
        """Reads a file of configs/datasets/.

        Raises:
            UsageError: There is no such file, or its ``test_dataloader`` or
                ``test_evaluator`` do not say where the files are.
        """
        if not path.is_file():
            known = sorted(p.stem for p in path.parent.glob('*.py'))
            raise UsageError(f'--datasets {path.stem}: there is no {path}; '
                             f'known: {", ".join(known) or "none"}')
        try:
            config = Config.fromfile(path)
            data = config.test_dataloader.dataset
            root = data.get('data_root') or ''
            metrics = config.test_evaluator
            forests = [
                metric.ann_file
                for metric in (metrics if isinstance(metrics, list) else
                               [metrics])
                if str(metric.type).endswith('ForestMetric')
            ]
            return cls(path.stem, os.path.join(root, data.ann_file),
                       os.path.join(root, data.data_prefix.img),
                       has_parents=bool(forests),
                       forest_file=next(iter(forests), ''))
        except Exception as error:  # a configuration is a program
            raise UsageError(
                f'{path}: its test_dataloader and test_evaluator must say '
                f'where the files are: {type(error).__name__}: {error}'
            ) from error

    @classmethod
    def from_text(cls, text: str) -> 'EvalDataset':
        """Reads ``NAME=GT_JSON:IMG_DIR``, or with ``:FOREST_JSON``.

        Raises:
            UsageError: It is something else.
        """
        name, _, paths = text.partition('=')
        ann_file, *more = parts = paths.split(':')
        if not name or not all(parts) or len(more) not in (1, 2):
            raise UsageError(f'--dataset {text}: it must be '
                             'NAME=GT_JSON:IMG_DIR or '
                             'NAME=GT_JSON:IMG_DIR:FOREST_JSON, no other ":"')
        return cls(name, ann_file, more[0], forest_file=''.join(more[1:]))

    def check(self) -> None:
        """Raises UsageError if a file or folder is missing."""
        for path in (self.ann_file, self.forest_file or self.ann_file):
            if not Path(path).is_file():
                raise UsageError(f'{self.name}: no ground truth {path}; see '
                                 'docs/evaluation.md')
        if not Path(self.img_dir).is_dir():
            raise UsageError(f'{self.name}: no folder of photos '
                             f'{self.img_dir}')

    def photos(self) -> list[str]:
        """Names of the images of the ground truth, in the folder.

        Raises:
            UsageError: One is not there, or the ground truth is broken.
        """
        try:
            rows = list(stream_images(Path(self.ann_file)))
        except FileError as error:
            raise UsageError(f'{self.name}: {error}') from error
        names = [row.get('file_name') for row in rows]
        if not all(name and isinstance(name, str) for name in names):
            raise UsageError(f'{self.name}: to label the photos, '
                             f'{self.ann_file} must give each image a '
                             '"file_name"')
        names.sort()
        for name in names:
            fault = name_fault(name)
            if fault:
                raise UsageError(f'{self.name}: {self.ann_file} has the '
                                 f'image {name!r:.200}: {fault}')
            if not (Path(self.img_dir) / name).is_file():
                raise UsageError(f'{self.name}: no photo {name} in '
                                 f'{self.img_dir}, which {self.ann_file} '
                                 'lists')
        return names


def parse_method(text: str, datasets: Sequence[EvalDataset]
                 ) -> tuple[str, dict[str, Path]]:
    """Reads ``METHOD=FILE``, where FILE may hold ``{dataset}``.

    Returns:
        The method, and its files by dataset; those that do not exist are
        left out where FILE has a ``{dataset}``.

    Raises:
        UsageError: It is something else, or no file exists.
    """
    method, _, file = text.partition('=')
    if not (method and file):
        raise UsageError(f'{text}: it must be METHOD=FILE')
    if '{dataset}' not in file and len(datasets) > 1:
        raise UsageError(f'{text}: there are {len(datasets)} datasets; write '
                         '{dataset} in place of their names in FILE')
    files = {d.name: Path(file.replace('{dataset}', d.name))
             for d in datasets}
    found = {name: path for name, path in files.items() if path.is_file()}
    if not found:
        raise UsageError(f'{text}: no such file: '
                         f'{", ".join(map(str, files.values()))}')
    return method, found


def predict(config_path: str, checkpoint: str, dataset: EvalDataset,
            folder: Path, options: Mapping[str, Any] | None = None,
            launcher: str = 'none',
            trust_checkpoint: bool = False) -> Path:
    """Runs a checkpoint on a dataset, unless that was done before.

    Args:
        config_path: The checkpoint's configuration; its test pipeline
            counts, its data do not.
        checkpoint: A file that training wrote.
        dataset: The photos.
        folder: Where NAME.json and, when it is whole, NAME.run.json go: what
            it was made from. With other inputs it is made anew.
        options: ``--cfg-options``.
        launcher: As for tools/test.py; all processes call this.
        trust_checkpoint: Run what the checkpoint carries beside data.

    Returns:
        The COCO results json.

    Raises:
        UsageError: For whatever the person can mend.
    """
    out, mark = folder / f'{dataset.name}.json', folder / (
        f'{dataset.name}.run.json')
    config = read_config(config_path, options,
                         str(folder / 'logs' / dataset.name), launcher)
    if 'pipeline' not in (config.get('test_dataloader') or {}).get(
            'dataset', {}):
        raise UsageError(f'{config_path} has no test_dataloader with a '
                         'pipeline: it is no configuration to test with')
    if not Path(checkpoint).is_file():
        raise UsageError(f'{checkpoint}: no such checkpoint')
    made_from = dict(
        checkpoint=sha256_of(Path(checkpoint)),
        ground_truth=sha256_of(Path(dataset.ann_file)),
        photos=photos_digest(dataset.img_dir, dataset.photos()),
        settings=_digest([config.model.to_dict(),
                          config.test_dataloader.dataset.pipeline]))
    # With the file's hash: the mark must not vouch for a newer one.
    if out.is_file() and read_settings(mark) == dict(
            made_from, predictions=sha256_of(out)):
        return out
    ann_file = str(Path(dataset.ann_file).resolve())
    config.test_dataloader.dataset.update(
        data_root='', ann_file=ann_file, test_mode=True,
        data_prefix=dict(img=f'{Path(dataset.img_dir).resolve()}/'))
    config.test_evaluator = [
        dict(type='sohes.EntityMetric', ann_file=ann_file, outfile=str(out))
    ]
    config.test_cfg = config.get('test_cfg') or dict(type='TestLoop')
    config.experiment_name = f'zero_shot_{dataset.name}'
    test_model(config, checkpoint, trust_checkpoint=trust_checkpoint)
    write_settings(mark, dict(made_from, predictions=sha256_of(out)))
    return out


def read_scores(dataset: EvalDataset, path: Path, method: MethodScores,
                report: list[str]) -> EvaluationInput:
    """Scores one method on one dataset.

    Args:
        dataset: The ground truth.
        path: Predictions; see :func:`read_evaluation_input`.
        method: Takes the scores.
        report: Takes a line on what a reader of them should know.

    Returns:
        What was read, to draw.

    Raises:
        FileError: A file cannot be evaluated; which, where, why.
    """
    data = read_evaluation_input(dataset.ann_file, path)
    limits = detection_limits(1000)
    matches = [match_image(image, limits) for image in data.images]
    method.masks[dataset.name] = summarize(matches).percentages()
    if len(matches) >= FEWEST_IMAGES:
        method.resampled[dataset.name] = resampled_ar(matches)
    where = f'{method.method} on {dataset.name}: '
    empty = sum(not image.rles for image in data.images)
    if empty:
        report.append(f'{where}{empty} of {len(data.images)} images have '
                      'no prediction.')
    if data.ignored_images:
        report.append(f'{where}{data.ignored_images} images that are not '
                      'in the ground truth were left out.')
    if data.scores_missing:
        report.append(f'{where}no scores, so AP means little.')
    if dataset.has_parents and any(
            found.has_forest for found in data.found):
        _score_forest(dataset, path, data, method, report)
    return data


def score_as_many(dataset: EvalDataset, data: EvaluationInput,
                  first: EvaluationInput, method: MethodScores) -> None:
    """Scores the best masks of each image, as many as another method has.

    Recall grows with the number of masks, so a method with more of them
    says little about each; at equal numbers its scores have to choose.

    Args:
        dataset: The ground truth of both.
        data: The method with more masks.
        first: The method whose numbers count.
        method: Takes the scores.
    """
    limits = detection_limits(1000)
    matches = []
    for image, found, other in zip(data.images, data.found, first.found):
        matches.append(match_image(
            image.with_predictions(found.best(len(other))), limits))
    method.masks[dataset.name] = summarize(matches).percentages()
    if len(matches) >= FEWEST_IMAGES:
        method.resampled[dataset.name] = resampled_ar(matches)


def _score_forest(dataset: EvalDataset, path: Path, data: EvaluationInput,
                  method: MethodScores, report: list[str]) -> None:
    """Compares the predicted forest with the true one."""
    truth = dataset.forest_file or dataset.ann_file
    if truth != dataset.ann_file:
        data = read_evaluation_input(truth, path)
    counts = ForestCounts()
    for row, found in zip(data.rows, data.found):
        # Where nothing is predicted all pairs are lost.
        counts += compare_forests(found, annotated_entities(row, truth))
    method.forests[dataset.name] = counts.percentages()
    if not any('parent_id' in annotation for row in data.rows
               for annotation in row['annotations']):
        report.append(f'{dataset.name}: the true forest is computed from '
                      'coverage; it has no parent_id.')


def _digest(value: Any) -> str:
    """A hash of plain data."""
    return hashlib.sha256(
        json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
