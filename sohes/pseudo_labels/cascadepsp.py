"""Step 3 with CascadePSP (Cheng et al., CVPR 2020), the paper's choice."""
import hashlib
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sohes.pseudo_labels.proposals import Proposal
from sohes.pseudo_labels.window import Window, WindowRefiner
from sohes.utils.tensor_files import TensorFileError, read_tensor_file

# Both from segmentation_refinement/download.py of the package's release 0.6.
URL = 'https://github.com/hkchengrex/CascadePSP/releases/download/v1.0/model'
MD5 = '7478d4a9c42ab52beb6d7e9683402fe0'
# Where the package itself keeps that file (its main.py).
PACKAGE_FILE = Path('~/.segmentation-refinement/model')
# Input of the network: ImageNet's statistics of RGB in [0, 1] (its main.py).
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
# The package cuts tiles of `max_side` every max_side / 2 - 32 pixels; below
# this they hardly advance (at 66 by one pixel, below not at all).
_SMALLEST_SIDE = 128


class CascadePSPRefiner(WindowRefiner):
    """CascadePSP on a window around the mask.

    A pass over the whole window, resized to `max_side`, then passes over
    tiles of it at the window's own size. The network knows one mask and the
    rest; its input is the mask without soft borders, as in its training.

    Args:
        weights (str or PathLike, optional): the file that the authors call
            ``model``. None: the file where the package keeps it or where
            ours are kept (``weights_dir``), downloaded if there is none.
        device (str, optional): 'cpu', 'cuda', ...; None takes CUDA where
            there is one.
        fast (bool): the pass over the whole window alone.
        max_side (int): longer side of a pass in pixels, at least 128; the
            package's L. Smaller windows are enlarged to it, so on a CPU it
            decides the time: take 256 or so there.
        margin (float): of the window, over the box's longer side. The
            authors enlarge boxes by a quarter (their eval_post_ade.py).
        min_margin (int): of the window, in pixels: a patch or two.

    Raises:
        ImportError: if the package is missing, with the command.
        ValueError: if `max_side` is too small, or the weights cannot be
            had or are not CascadePSP's.
    """

    def __init__(self,
                 weights: str | Path | None = None,
                 device: str | None = None,
                 fast: bool = False,
                 max_side: int = 900,
                 margin: float = 0.125,
                 min_margin: int = 16) -> None:
        try:
            from segmentation_refinement.eval_helper import (
                process_high_res_im,
                process_im_single_pass,
            )
            from segmentation_refinement.models.psp.pspnet import (
                RefinementModule,
            )
        except ImportError as error:
            raise ImportError(
                'refiner cascadepsp needs the package segmentation-refinement'
                ' (and torchvision): pip install "sohes[refine]"') from error
        if max_side < _SMALLEST_SIDE:
            raise ValueError('refiner cascadepsp: max_side must be at least '
                             f'{_SMALLEST_SIDE}, found {max_side}')
        if device is None:
            device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self.device = torch.device(device)
        self.max_side = max_side
        self.margin = margin
        self.min_margin = min_margin
        self._process = process_im_single_pass if fast else process_high_res_im
        self.model = RefinementModule()
        _load_weights(self.model, _find_weights(weights))
        self.model.requires_grad_(False).eval().to(self.device)

    def refine(self, window: Window, pixels: np.ndarray, item: Proposal,
               before: np.ndarray) -> np.ndarray:
        """See :class:`WindowRefiner`."""
        return self._infer(pixels, before)

    @torch.inference_mode()
    def _infer(self, pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """One window: (h, w, 3) uint8 and (h, w) bool -> (h, w) bool."""
        height, width = mask.shape
        # Resized to max_side, a very thin window would have no pixel left.
        thinnest = ceil(max(mask.shape) / self.max_side) + 1
        pad = ((0, max(0, thinnest - height)), (0, max(0, thinnest - width)))
        mask = np.pad(mask, pad, mode='edge')
        pixels = np.pad(pixels, (*pad, (0, 0)), mode='edge')
        # (h, w, 3) -> (1, 3, h, w), normalised
        image = torch.from_numpy(pixels).to(self.device).permute(2, 0, 1)[None]
        image = (image.float() / 255 - self._channels(_MEAN)
                 ) / self._channels(_STD)
        # (h, w) -> (1, 1, h, w) in {-1, 1}
        segment = torch.from_numpy(mask).to(self.device)[None, None].float()
        refined = self._process(self.model, image, segment * 2 - 1,
                                self.max_side)
        return (refined[0, 0, :height, :width] > 0.5).cpu().numpy()

    def _channels(self, values: tuple[float, ...]) -> Tensor:
        """One value a channel, (3, 1, 1)."""
        return torch.tensor(values, device=self.device)[:, None, None]


def _find_weights(weights: str | Path | None) -> Path:
    """The file of weights, downloaded if need be.

    Raises:
        ValueError: if it is missing, is not the authors', or cannot be
            downloaded: names the URL, the file and where to put it.
    """
    if weights is not None:
        path = Path(weights).expanduser()
        if not path.is_file():
            raise ValueError(f'refiner cascadepsp: weights {path} is not a '
                             'file')
        return path
    path = PACKAGE_FILE.expanduser()
    if not path.is_file():
        # Only here: these bring in mmengine, which is slow to import.
        from sohes.models.backbones.download import (
            DownloadError,
            download,
            reason_of,
        )
        from sohes.models.backbones.vit_zoo import weights_dir
        path = weights_dir() / 'cascadepsp_v1.0.pth'
        try:
            if not path.is_file():
                download(URL, path)
        except DownloadError as error:
            raise ValueError(
                'refiner cascadepsp: its weights (270 MB) cannot be '
                f'downloaded ({reason_of(error.__cause__ or error)}); fetch '
                f'{URL} elsewhere and put it at {path}, or name a file that '
                'you have: --cfg-options pseudo_labels.refiner.weights=FILE'
            ) from error
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, 'rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            digest.update(block)
    if digest.hexdigest() != MD5:
        raise ValueError(
            f'refiner cascadepsp: {path} has MD5 {digest.hexdigest()}, not '
            f'{MD5} as {URL} should; delete it to download it again, or '
            'name another file as the weights')
    return path


def _load_weights(model: torch.nn.Module, path: Path) -> None:
    """Load a state dict, saved from DataParallel or not.

    The package's own loader runs whatever code the file carries (torch
    before 2.6) and cuts seven letters off every name, whichever they are.

    Raises:
        ValueError: for a file of another kind, or other names and shapes.
    """
    try:
        state: Any = read_tensor_file(path)
    except TensorFileError as error:
        raise ValueError(f'refiner cascadepsp: {path} is not a file of '
                         f'weights that torch can read: {error}') from error
    if not isinstance(state, Mapping):
        raise ValueError(f'refiner cascadepsp: {path} holds no state dict, '
                         f'but a {type(state).__name__}')
    state = {str(k).removeprefix('module.'): v for k, v in state.items()}
    expected = model.state_dict()
    wrong = [
        f'{len(names)} {what} ({", ".join(sorted(names)[:3])} ...)'
        for what, names in (
            ('missing', expected.keys() - state.keys()),
            ('unexpected', state.keys() - expected.keys()),
            ('of another shape', {
                name for name in expected.keys() & state.keys()
                if getattr(state[name], 'shape', None) != expected[name].shape
            })) if names
    ]
    if wrong:
        raise ValueError(f'refiner cascadepsp: {path} does not hold '
                         f"CascadePSP's weights: {'; '.join(wrong)}")
    model.load_state_dict(state)
