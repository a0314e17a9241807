"""Step 3 with CascadePSP (Cheng et al., CVPR 2020), the paper's choice."""
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sohes.pseudo_labels.best_first import Refined
from sohes.pseudo_labels.cascadepsp_passes import pass_shape, refine_windows
from sohes.pseudo_labels.proposals import Proposal
from sohes.pseudo_labels.window import Window, mask_iou
from sohes.utils.errors import FileError
from sohes.utils.tensor_files import read_tensor_file
from sohes.weights.download import DownloadError, download, reason_of
from sohes.weights.vit_zoo import weights_dir

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
_DTYPES = dict(
    fp32=torch.float32, bf16=torch.bfloat16, fp16=torch.float16)


class CascadePSPRefiner:
    """CascadePSP on a window around each mask.

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
        batch_size (int): masks in a forward pass. Above 1, windows are
            widened to a few shapes, so that masks can share a pass.
        dtype (str): 'fp32', 'bf16' or 'fp16' of the passes.

    Raises:
        ImportError: if the package is missing, with the command.
        ValueError: if an argument is out of range, or the weights cannot be
            had or are not CascadePSP's.
    """

    def __init__(self,
                 weights: str | Path | None = None,
                 device: str | None = None,
                 *,
                 fast: bool = False,
                 max_side: int = 900,
                 margin: float = 0.125,
                 min_margin: int = 16,
                 batch_size: int = 1,
                 dtype: str = 'fp32') -> None:
        try:
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
        if batch_size < 1:
            raise ValueError('refiner cascadepsp: batch_size must be at least'
                             f' 1, found {batch_size}')
        if dtype not in _DTYPES:
            raise ValueError('refiner cascadepsp: dtype must be one of '
                             f'{", ".join(_DTYPES)}, found {dtype!r}')
        if device is None:
            device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self.device = torch.device(device)
        self.fast = fast
        self.max_side = max_side
        self.margin = margin
        self.min_margin = min_margin
        self.batch_size = batch_size
        self.dtype = _DTYPES[dtype]
        self.model = RefinementModule()
        _load_weights(self.model, _find_weights(weights))
        self.model.requires_grad_(False).eval().to(self.device)

    def __call__(self, image: np.ndarray,
                 item: Proposal) -> tuple[np.ndarray, float]:
        """Refine one proposal.

        Args:
            image (np.ndarray): (H, W, 3) uint8 RGB.
            item (Proposal): the mask to refine.

        Returns:
            tuple: (H, W) bool mask, and its IoU with the mask before.
        """
        one, = self.refine_all(image, [item])
        (left, top), (height, width) = one.corner, one.mask.shape
        out = np.zeros(image.shape[:2], bool)
        out[top:top + height, left:left + width] = one.mask
        return out, one.iou

    def refine_all(self, image: np.ndarray,
                   items: Sequence[Proposal]) -> list[Refined]:
        """See :class:`sohes.pseudo_labels.best_first.ImageRefiner`."""
        windows = [self._window(item, image.shape[:2]) for item in items]
        shapes: dict[tuple[int, int], list[int]] = {}
        for k, window in enumerate(windows):
            shapes.setdefault(pass_shape(window.shape, self.max_side),
                              []).append(k)
        out: list = [None] * len(items)
        for members in shapes.values():
            for start in range(0, len(members), self.batch_size):
                some = members[start:start + self.batch_size]
                before = [windows[k].soft(items[k]) > 0.5 for k in some]
                refined = self._infer(
                    [windows[k].cut(image) for k in some], before)
                for k, was, mask in zip(some, before, refined):
                    out[k] = Refined(mask, windows[k].box[:2],
                                     mask_iou(was, mask))
        return out

    def _window(self, item: Proposal, size: tuple[int, int]) -> Window:
        """Where a mask is looked at."""
        window = Window.around(item, size, self.margin, self.min_margin)
        if self.batch_size == 1:
            return window
        left, top, right, bottom = window.box
        # The longer side a multiple of 4 pixels, the shorter one of quarters
        # of that: four shapes each way, where the image has room.
        quarter = -(-max(right - left, bottom - top) // 4)
        spans = [
            _widened(low, high, -(-(high - low) // quarter) * quarter, limit)
            for low, high, limit in ((left, right, size[1]),
                                     (top, bottom, size[0]))
        ]
        (left, right), (top, bottom) = spans
        return Window(size, (left, top, right, bottom),
                      (bottom - top, right - left))

    @torch.inference_mode()
    def _infer(self, pixels: Sequence[np.ndarray],
               masks: Sequence[np.ndarray]) -> list[np.ndarray]:
        """N windows: (h, w, 3) uint8 and (h, w) bool -> (h, w) bool."""
        images, segments = [], []
        for one, mask in zip(pixels, masks):
            # Resized to max_side, a very thin window would have no pixel.
            thinnest = ceil(max(mask.shape) / self.max_side) + 1
            pad = tuple((0, max(0, thinnest - side)) for side in mask.shape)
            # (h, w, 3) -> (3, h, w), normalised
            image = torch.from_numpy(
                np.pad(one, (*pad, (0, 0)), mode='edge')).to(self.device)
            images.append((image.permute(2, 0, 1).float() / 255 -
                           self._channels(_MEAN)) / self._channels(_STD))
            # (h, w) -> (1, h, w) in {-1, 1}
            segment = torch.from_numpy(np.pad(mask, pad, mode='edge'))
            segments.append(segment.to(self.device)[None].float() * 2 - 1)
        # Torch 2.1 refuses an autocast to float32 on a CPU, disabled or not.
        half = nullcontext() if self.dtype == torch.float32 else (
            torch.autocast(self.device.type, self.dtype))
        with half:
            refined = refine_windows(self.model, images, segments,
                                     self.max_side, self.batch_size,
                                     self.fast)
        return [(one[0, :mask.shape[0], :mask.shape[1]] > 0.5).cpu().numpy()
                for one, mask in zip(refined, masks)]

    def _channels(self, values: tuple[float, ...]) -> Tensor:
        """One value a channel, (3, 1, 1)."""
        return torch.tensor(values, device=self.device)[:, None, None]


def _widened(low: int, high: int, length: int,
             limit: int) -> tuple[int, int]:
    """Make a span longer on both sides, inside [0, limit]."""
    length = min(length, limit)
    low = min(max(0, low - (length - (high - low)) // 2), limit - length)
    return low, low + length


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
    except FileError as error:
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
