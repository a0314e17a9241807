"""The picture of the forest, where OpenMMLab looks for a visualizer."""
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.structures import BaseDataElement
from mmengine.visualization import Visualizer

from sohes.evaluation.predictions import predicted_entities
from sohes.registry import VISUALIZERS
from sohes.structures import Entities
from sohes.visualization.forest_picture import draw_forest
from sohes.visualization.save import save_picture


@VISUALIZERS.register_module()
class ForestVisualizer(Visualizer):
    """Draws predicted entities with their forest, as Phase 1's pictures.

    It takes the place of ``DetLocalVisualizer``: in a configuration's
    ``visualizer``, with ``DetVisualizationHook``, and in
    :class:`~sohes.apis.EntityInferencer`.
    """

    def add_datasample(self,
                       name: str,
                       image: np.ndarray,
                       data_sample: BaseDataElement | None = None,
                       draw_gt: bool = True,
                       draw_pred: bool = True,
                       show: bool = False,
                       wait_time: float = 0,
                       out_file: str | Path | None = None,
                       pred_score_thr: float = 0.3,
                       step: int = 0,
                       **kwargs: Any) -> None:
        """Draw one image; :meth:`get_image` returns the picture.

        Args:
            name: title of the window, and name in the visual backends.
            image: (H, W, 3) uint8 RGB.
            data_sample: with ``pred_instances``; None: the photo alone.
            draw_gt: not used: ground truth is drawn by Phase 1's pictures.
            draw_pred: draw the predictions.
            show: open a window.
            wait_time: seconds that it stays; 0: until it is closed.
            out_file: a JPEG to write instead of the visual backends.
            pred_score_thr: predictions below it are left out; their parts
                hang from the nearest ancestor that stays.
            step: for the visual backends.
            **kwargs: ignored, as other visualizers have more.
        """
        found = Entities(image.shape[:2], [], [])
        if draw_pred and data_sample is not None:
            found = predicted_entities(
                data_sample.pred_instances).above(pred_score_thr)
        self._image = draw_forest(image, found.rles, found.forest,
                                  found.scores, levels=found.levels())
        if show:
            self.show(self._image, win_name=name, wait_time=wait_time)
        if out_file is not None:
            save_picture(Path(out_file), self._image)
        else:
            self.add_image(name, self._image, step)

    def get_image(self) -> np.ndarray:
        """The last picture, (H', W', 3) uint8 RGB."""
        return self._image
