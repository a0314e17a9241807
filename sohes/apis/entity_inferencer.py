"""Photos and videos in; entities, forests, pictures and json out."""
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.apis import DetInferencer
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import MODELS
from torch import nn

from sohes.apis.checkpoint_bounds import empty_model
from sohes.apis.checkpoint_config import inference_config
from sohes.apis.checkpoints import check_weights, read_checkpoint
from sohes.apis.models_without_vit import SHIPPED, place_vit, shipped_model
from sohes.apis.photo_entities import inferencer_finder
from sohes.apis.run_config import read_config
from sohes.apis.video import VIDEO_ENDINGS, Frames, write_video
from sohes.evaluation.predictions import (
    plain_prediction,
    predicted_entities,
)
from sohes.pseudo_labels.images import find_images, load_image
from sohes.utils.errors import ImageError, UsageError, said_in_a_sentence
from sohes.utils.files import fitting_name, whole_file
from sohes.visualization.forest_visualizer import ForestVisualizer
from sohes.visualization.save import picture_path
from sohes.visualization.viewer import Photo

_LOG = logging.getLogger(__name__)
_Input = str | Path | np.ndarray


class EntityInferencer(DetInferencer):
    """Finds the entities of photos with a trained checkpoint.

    It is called as ``mmdet.apis.DetInferencer`` is. Pictures show the
    forest and go to ``OUT_DIR/vis``, predictions to ``OUT_DIR/preds``.

    Args:
        model: a configuration's path, or one that is read already; or, in
            place of ``weights``, a checkpoint alone or 'sohes-vits14-demo',
            the model in demo/models/ of a checkout. None: the configuration
            inside the checkpoint.
        weights: a checkpoint of Phase 2 or 3, or that name.
        device: such as 'cuda:0'; None: a GPU if there is one.
        scope: of types that name none.
        show_progress: a progress bar.
        trust_checkpoint: run what the checkpoint carries beside data: for
            one's own old files.
        vit_weights: of a model whose ViT is not in its file
            (``sohes.FrozenViT``): a name of the zoo or a file. None: those
            that the configuration names, or that the file was published
            with.

    Raises:
        UsageError: a file that cannot be read, or a checkpoint of another
            model; what, where, and how to mend it.

    Examples:
        >>> inferencer = EntityInferencer('sohes-0a1b2c3d.safetensors')
        >>> result = inferencer('photo.jpg', out_dir='outputs')
        >>> result['predictions'][0]['parents']  # -1: a whole entity
        >>> inferencer.find('photo.jpg').save_json('entities.json')
    """

    def __init__(self,
                 model: str | Path | Config | ConfigDict | None = None,
                 weights: str | Path | None = None,
                 device: str | None = None,
                 scope: str = 'mmdet',
                 show_progress: bool = True,
                 trust_checkpoint: bool = False,
                 vit_weights: str | Path | None = None) -> None:
        if weights is None and isinstance(model, (str, Path)) and (
                str(model) in SHIPPED
                or Path(model).suffix in ('.pth', '.safetensors')):
            model, weights = None, model
        if weights is None:
            raise UsageError('EntityInferencer needs weights: a checkpoint '
                             'that tools/train.py wrote')
        if isinstance(model, (str, Path)):
            model = read_config(str(model))
        if weights in SHIPPED:
            weights = shipped_model(weights)
        self.trust_checkpoint = trust_checkpoint
        self.vit_weights = vit_weights
        super().__init__(model, str(weights), device, scope,
                         show_progress=show_progress)

    def __call__(self,
                 inputs: _Input | Sequence[_Input],
                 batch_size: int = 1,
                 out_dir: str = '',
                 **kwargs: Any) -> dict[str, list]:
        """Find entities.

        Args:
            inputs: a path, an array (H, W, 3) uint8 in BGR as OpenCV reads
                it, a folder (with the folders in it), a video, or a list of
                paths and arrays. What a folder holds that cannot be read is
                reported and left out.
            batch_size: images at a time.
            out_dir: where pictures and predictions go; '': nowhere.
            **kwargs: as of ``DetInferencer``: return_vis, show, wait_time,
                no_save_vis, draw_pred, pred_score_thr (0.3, of pictures
                only), return_datasamples, print_result, no_save_pred.
                For a video, no_save_vis and pred_score_thr.

        Returns:
            dict: ``predictions``, an image each: a dict of img_path (None
            for an array), scores, labels, bboxes (x1, y1, x2, y2 in
            pixels), masks (COCO RLEs), parents (positions in these lists,
            -1 for a whole entity) and, of a model that predicts them,
            levels (0 whole, 1 part, 2 subpart), surest first; or data
            samples.
            ``visualization``: pictures, (H', W', 3) uint8 RGB, if there
            are any.

        Raises:
            ImageError: an image that was named cannot be read.
            UsageError: an input that is neither, or a video that cannot be
                read.
        """
        if isinstance(inputs, (str, Path)):
            if (Path(inputs).suffix.lower() in VIDEO_ENDINGS
                    and not Path(inputs).is_dir()):
                return self._video(str(inputs), batch_size, out_dir,
                                   **kwargs)
            inputs = str(inputs)
        return super().__call__(
            inputs, batch_size=batch_size, out_dir=str(out_dir), **kwargs)

    def find(self, photo: _Input, min_score: float = 0.3) -> Photo:
        """Find the entities of one photo.

        Args:
            photo: its file, or an array (H, W, 3) uint8 in BGR.
            min_score: in [0, 1]; masks below it are left out.

        Returns:
            Its :class:`~sohes.structures.Entities`, with the photo:
            ``save_picture`` and ``save_json`` write them.

        Raises:
            ImageError: it cannot be read.
            UsageError: it is neither.
        """
        if isinstance(photo, (str, Path)):
            name, image = Path(photo).name, load_image(photo)
        else:
            _check_pixels(photo)
            name, image = 'photo', np.ascontiguousarray(photo[..., ::-1])
        return Photo.of(name, image, inferencer_finder(self, min_score)(image))

    def _init_model(self, cfg: Config | ConfigDict, weights: str,
                    device: str) -> nn.Module:
        """The trained model; an empty ``cfg`` becomes the checkpoint's."""
        checkpoint = read_checkpoint(weights, self.trust_checkpoint)
        name = getattr(cfg, 'filename', None) or 'the configuration'
        mistakes: tuple = (ValueError, KeyError, TypeError, OSError)
        stranger = not cfg and not self.trust_checkpoint
        if not cfg:
            cfg.update(inference_config(
                weights, checkpoint, self.trust_checkpoint)._cfg_dict)
            # Arguments that no person chose lead anywhere.
            mistakes = (Exception, )
            name = f'the configuration inside {weights}'
        place_vit(weights, cfg.model, checkpoint['meta'], self.vit_weights)
        try:
            if stranger:
                empty = empty_model(cfg.model, checkpoint['state_dict'],
                                    weights)
                check_weights(weights, checkpoint, empty, name)
            model = MODELS.build(cfg.model)
        except UsageError:
            raise
        except mistakes as error:
            reason = f'{type(error).__name__}: ' + ' '.join(str(error).split())
            raise UsageError(f'{name}: {reason:.500}') from error
        check_weights(weights, checkpoint, model, str(name))
        model.cfg = cfg
        self._load_weights_to_model(model, checkpoint, cfg)
        try:
            return model.to(device).eval()
        except (RuntimeError, AssertionError) as error:
            raise UsageError(f'device {device} cannot be used: '
                             f'{str(error).splitlines()[0]}') from error

    def _load_weights_to_model(self, model: nn.Module, checkpoint: dict,
                               cfg: Config | ConfigDict) -> None:
        """Load what :meth:`_init_model` has compared already."""
        model.load_state_dict({
            name.removeprefix('module.'): value
            for name, value in checkpoint['state_dict'].items()
        })
        model.dataset_meta = dict(classes=('entity', ))

    def _init_pipeline(self, cfg: Config | ConfigDict) -> Compose:
        """The test pipeline, which reads photos as Phase 1 does."""
        transforms = list(cfg.test_dataloader.dataset.pipeline)
        if str(transforms[0]['type']).split('.')[-1] != 'LoadEntityImage':
            raise UsageError('the test pipeline must begin with '
                             'sohes.LoadEntityImage, it begins with '
                             f'{transforms[0]["type"]}')
        return Compose([_load, *transforms[1:]])

    def _init_collate(self, cfg: Config | ConfigDict) -> Callable:
        return pseudo_collate

    def _init_visualizer(self, cfg: Config | ConfigDict) -> ForestVisualizer:
        return ForestVisualizer()

    def _inputs_to_list(self, inputs: Any) -> list[dict[str, Any]]:
        """One dict an image: its pixels or its path, and a name for files.
        """
        if isinstance(inputs, str) and os.path.isdir(inputs):
            with said_in_a_sentence():
                names = find_images(inputs)
            return [
                dict(img_path=os.path.join(inputs, name), img_id=name,
                     may_fail=True) for name in names
            ]
        every = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        for item in every:
            if not isinstance(item, (str, Path)):
                _check_pixels(item)
        paths = [str(item) for item in every if isinstance(item, (str, Path))]
        names = _names(paths)
        found, arrays = [], 0
        for item in every:
            if isinstance(item, np.ndarray):
                found.append(dict(img=item, img_path=None,
                                  img_id=f'{arrays:08d}'))
                arrays += 1
            else:
                found.append(dict(img_path=str(item), img_id=next(names)))
        return found

    def preprocess(self, inputs: Iterable[dict], batch_size: int = 1,
                   **kwargs: Any) -> Iterator[tuple[list[dict], dict]]:
        """Batches of inputs, and of what the model takes."""
        items, packed = [], []
        for item in inputs:
            try:
                packed.append(self._prepared(item))
            except ImageError as error:
                if not item.get('may_fail'):
                    raise
                _LOG.warning('not read: %s', error)
                continue
            items.append(item)
            if len(items) == batch_size:
                yield items, self.collate_fn(packed)
                items, packed = [], []
        if items:
            yield items, self.collate_fn(packed)

    def _prepared(self, item: dict) -> dict:
        """An input as the model takes it.

        Raises:
            ImageError: it cannot be read, or a transform failed.
        """
        try:
            return self.pipeline(item)
        except (ImageError, OSError, MemoryError):
            raise
        except Exception as error:  # OpenCV's has no more precise type
            reason = ' '.join(str(error).split())
            raise ImageError(
                f'{item["img_path"] or item["img_id"]}: the test pipeline of '
                f'the configuration failed: {reason:.300}') from error

    def visualize(self,
                  inputs: Sequence[dict],
                  preds: Sequence[DetDataSample],
                  return_vis: bool = False,
                  show: bool = False,
                  wait_time: float = 0,
                  draw_pred: bool = True,
                  pred_score_thr: float = 0.3,
                  no_save_vis: bool = False,
                  img_out_dir: str = '',
                  **kwargs: Any) -> list[np.ndarray] | None:
        """Draw a batch; see :meth:`__call__`."""
        saved = img_out_dir != '' and not no_save_vis
        if not (show or saved or return_vis):
            return None
        pictures = []
        for item, sample in zip(inputs, preds):
            path = picture_path(Path(img_out_dir, 'vis'), item['img_id'])
            self.visualizer.add_datasample(
                item['img_id'],
                _pixels(item),
                sample,
                draw_pred=draw_pred,
                show=show,
                wait_time=wait_time,
                out_file=path if saved else None,
                pred_score_thr=pred_score_thr)
            if return_vis:
                pictures.append(self.visualizer.get_image())
        return pictures if return_vis else None

    def pred2dict(self, data_sample: DetDataSample,
                  pred_out_dir: str = '') -> dict[str, Any]:
        """A prediction as plain data, written if there is a folder."""
        prediction = plain_prediction(data_sample)
        if pred_out_dir:
            name = Path(data_sample.img_id)
            path = Path(pred_out_dir, 'preds', name.parent,
                        fitting_name(name.name, '.json'))
            _write_json(path, prediction)
        return prediction

    def _video(self, path: str, batch_size: int, out_dir: str,
               pred_score_thr: float = 0.3, no_save_vis: bool = False,
               no_save_pred: bool = True, **kwargs: Any) -> dict[str, list]:
        """Every frame by itself: entities are not followed over time."""
        frames = Frames(path)
        stem = Path(path).stem
        drawn = Path(out_dir, 'vis', fitting_name(stem, '.mp4'))
        inputs = (dict(img=frame, img_path=path, img_id=f'{number:06d}')
                  for number, frame in enumerate(frames))
        predictions: list[dict] = []

        def pictures() -> Iterator[tuple]:
            batches = self.preprocess(inputs, batch_size=batch_size)
            for items, data in self._track(batches, frames.count,
                                           batch_size):
                for item, sample in zip(items, self.forward(data)):
                    predictions.append(plain_prediction(sample))
                    found = predicted_entities(sample.pred_instances)
                    yield item['img'], found.above(pred_score_thr)

        if out_dir and not no_save_vis:
            write_video(drawn, frames.fps, pictures())
        else:
            for _ in pictures():
                pass
        if out_dir and not no_save_pred:
            _write_json(Path(out_dir, 'preds', fitting_name(stem, '.json')),
                        predictions)
        return dict(predictions=predictions, visualization=[])

    def _track(self, batches: Iterable, images: int | None,
               batch_size: int) -> Iterable:
        """The batches, with a progress bar, of a known number or not."""
        if not self.show_progress:
            return batches
        from rich.progress import track
        total = None if images is None else -(-images // batch_size)
        return track(batches, 'Inference', total=total)


def _load(results: dict[str, Any]) -> dict[str, Any]:
    """What ``sohes.LoadEntityImage`` adds, for an array too."""
    image = _pixels(results)
    shape = image.shape[:2]
    return dict(results, img=image, img_shape=shape, ori_shape=shape)


def _pixels(item: dict[str, Any]) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an input."""
    if item.get('img') is None:
        return load_image(item['img_path'])
    return np.ascontiguousarray(item['img'][..., ::-1])


def _check_pixels(value: Any) -> None:
    if (not isinstance(value, np.ndarray) or value.dtype != np.uint8
            or value.ndim != 3 or value.shape[2] != 3 or not value.size):
        found = (f'{value.dtype} of shape {value.shape}' if isinstance(
            value, np.ndarray) else type(value).__name__)
        raise UsageError('an input must be a path or an array (H, W, 3) '
                         f'uint8 in BGR, found {found}')


def _names(paths: Sequence[str]) -> Iterator[str]:
    """Names for files: the images' own, with folders where two are alike."""
    counts = Counter(map(os.path.basename, paths))
    for number, path in enumerate(paths):
        name = os.path.basename(path)
        yield name if counts[name] == 1 else f'{number:08d}-{name}'


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        json.dump(value, file)
