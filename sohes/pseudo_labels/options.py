"""Every value of Phase 1, with the paper's section beside it."""
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from sohes.pseudo_labels.clustering import check_thresholds


def _build(kind: type, values: Mapping[str, Any], where: str) -> Any:
    """Make a dataclass from a mapping; an unknown key is an error."""
    known = {f.name for f in fields(kind)}
    for key in values:
        if key not in known:
            raise ValueError(f'{where}: unknown key {key!r}; known are '
                             f'{", ".join(sorted(known))}')
    return kind(**values)


def _check(where: str, value: Any, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f'{where} must be in [{low}, {high}], found {value}')


@dataclass(frozen=True)
class LocalOptions:
    """Step 2, local re-clustering (section 3.1, appendix A).

    Attributes:
        max_area (float): regions under this are looked at again: a share of
            the image (the paper's theta_small, 1/1024) if below 1, otherwise
            pixels of the original image (32^2 is COCO's bound of small).
        image_size (int): side S' that a crop is resized to, in pixels.
        crop_scale (float): side of the crop over the region's longer side.
        min_crop (int): smallest side of a crop, in pixels of the original.
        max_zoom_out (float): how much larger than its own crop a crop may
            be for a region to share it.
        max_crops (int, optional): at most this many an image, those with
            most regions first; None for all.
        min_patches (int): smaller subregions are not kept.
        max_growth (float): subregions over this times `max_area` are not
            kept: what is that large, step 1 has seen. inf keeps all.
        thresholds (tuple, optional): merging thresholds of the crops; None
            takes those of the whole image.
        batch_size (int): crops in one forward of the ViT.
    """
    max_area: float = 1 / 1024
    image_size: int = 256
    crop_scale: float = 2.0
    min_crop: int = 32
    max_zoom_out: float = 1.5
    max_crops: int | None = None
    min_patches: int = 4
    max_growth: float = float('inf')
    thresholds: tuple[float, ...] | None = None
    batch_size: int = 8

    def __post_init__(self) -> None:
        _check('local.max_area', self.max_area, 0, float('inf'))
        _check('local.image_size', self.image_size, 1, 1 << 16)
        _check('local.crop_scale', self.crop_scale, 1, 100)
        if self.thresholds is not None:
            check_thresholds(self.thresholds)
            object.__setattr__(self, 'thresholds', tuple(self.thresholds))
        _check('local.batch_size', self.batch_size, 1, 1 << 16)

    def bound(self, size: tuple[int, int]) -> float:
        """The area in pixels of an (H, W) image under which to zoom in."""
        if self.max_area < 1:
            return self.max_area * size[0] * size[1]
        return self.max_area


@dataclass(frozen=True)
class ExploreOptions:
    """Phase 1, self-exploration (section 3.1, appendices A and D).

    Attributes:
        image_size (int): side S that the image is resized to, in pixels.
        thresholds (tuple, optional): merging thresholds, strictly falling;
            None takes those that come with the weights.
        nms_iou (float): of two masks with a higher IoU one goes.
        min_patches (int): smaller regions are not pseudo-labels.
        max_masks (int): under 200 in the paper; the best stay after step 3, see `finish`; how many
            were dropped is counted.
        max_candidates (int): the best stay after step 2, so that a picture
            of gravel does not take an hour to refine; counted too.
        local (LocalOptions, optional): step 2; None leaves it out.
        refiner (dict, optional): step 3, see `build_refiner`; None or type
            'none' leaves it out.
        refine_min_iou (float): a mask whose IoU before and after refinement
            is under this goes.
        coverage (float): theta_cover of step 4.
    """
    image_size: int = 1024
    thresholds: tuple[float, ...] | None = None
    nms_iou: float = 0.9
    min_patches: int = 4
    max_masks: int = 199
    max_candidates: int = 1000
    local: LocalOptions | None = LocalOptions()
    refiner: Mapping[str, Any] | None = None
    refine_min_iou: float = 0.5
    coverage: float = 0.9

    def __post_init__(self) -> None:
        if self.thresholds is not None:
            check_thresholds(self.thresholds)
            object.__setattr__(self, 'thresholds', tuple(self.thresholds))
        if self.refiner is None:
            object.__setattr__(self, 'refiner', dict(type='none'))
        _check('image_size', self.image_size, 1, 1 << 16)
        _check('nms_iou', self.nms_iou, 0, 1)
        _check('min_patches', self.min_patches, 1, 1 << 32)
        _check('max_masks', self.max_masks, 1, 1 << 32)
        _check('max_candidates', self.max_candidates, 1, 1 << 32)
        _check('refine_min_iou', self.refine_min_iou, 0, 1)
        _check('coverage', self.coverage, 0, 1)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> 'ExploreOptions':
        """Build from a config's dict, with `local` a dict or None.

        Raises:
            ValueError: for an unknown key or a value out of range, by name.
        """
        values = dict(values)
        if values.get('local') is not None:
            values['local'] = _build(LocalOptions, values['local'], 'local')
        return _build(cls, values, 'pseudo_labels')
