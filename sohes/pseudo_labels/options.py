"""Every value of Phase 1, with the paper's section beside it."""
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any

from sohes.pseudo_labels.clustering import check_thresholds


def build_options(kind: type, values: Mapping[str, Any], where: str) -> Any:
    """Make a dataclass from a mapping; an unknown key is an error."""
    if not isinstance(values, Mapping):
        raise ValueError(f'{where} must be a dict, found {values!r}')
    known = {f.name for f in fields(kind)}
    for key in values:
        if key not in known:
            raise ValueError(f'{where}: unknown key {key!r}; known are '
                             f'{", ".join(sorted(known))}')
    return kind(**values)


def check_between(where: str, value: Any, low: float, high: float) -> None:
    """Refuse what is not a number in [low, high]."""
    if isinstance(value, bool) or not isinstance(
            value, Real) or not low <= value <= high:
        raise ValueError(f'{where} must be a number in [{low}, {high}], '
                         f'found {value!r}')


def check_count(where: str, value: Any) -> None:
    """Refuse what is not a positive integer."""
    if isinstance(value, bool) or not isinstance(
            value, Integral) or value < 1:
        raise ValueError(f'{where} must be a positive integer, found '
                         f'{value!r}')


def checked_thresholds(where: str, values: Any) -> tuple[float, ...] | None:
    """Thresholds as a tuple; None stays None."""
    if values is None:
        return None
    try:
        return tuple(check_thresholds(values).tolist())
    except (TypeError, ValueError) as error:
        raise ValueError(f'{where}: {error}') from error


def with_thresholds(options: Any, extractor: Any) -> Any:
    """Options that name their thresholds.

    Args:
        options: of a method, with ``thresholds`` or None.
        extractor: its ``preset``, if it has one, comes with its weights.

    Returns:
        The options, or a copy with the thresholds of the preset.

    Raises:
        ValueError: neither has thresholds.
    """
    if options.thresholds is not None:
        return options
    preset = getattr(extractor, 'preset', None)
    if preset is None:
        raise ValueError('these features come with no thresholds: name them '
                         'in the options, such as thresholds=(0.6, 0.3)')
    return replace(options, thresholds=preset.thresholds)


def checked_refiner(value: Any) -> Mapping[str, Any]:
    """A refiner's config; None leaves the masks as they are."""
    if value is None:
        return dict(type='none')
    if not isinstance(value, Mapping):
        raise ValueError(f'refiner must be a dict or None, found {value!r}')
    return value


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
        keep_image_edges (bool): where a crop ends with the image, what
            touches that border is complete and kept. The paper discards
            whatever meets a border of the crop.
        thresholds (tuple, optional): merging thresholds of the crops; None
            takes those of the whole image.
        batch_size (int): crops in one forward of the ViT.
        windows (int, optional): no crops; instead the image's longer side is
            cut into so many windows, the shorter one into as many as fit,
            and their features are clustered together as one grid. The ViT's
            time is then the same for every image.
    """
    max_area: float = 1 / 1024
    image_size: int = 256
    crop_scale: float = 2.0
    min_crop: int = 32
    max_zoom_out: float = 1.5
    max_crops: int | None = None
    min_patches: int = 4
    keep_image_edges: bool = True
    thresholds: tuple[float, ...] | None = None
    batch_size: int = 8
    windows: int | None = None

    def __post_init__(self) -> None:
        for key in ('image_size', 'min_crop', 'min_patches', 'batch_size'):
            check_count(f'local.{key}', getattr(self, key))
        if self.max_crops is not None:
            check_count('local.max_crops', self.max_crops)
        if not isinstance(self.keep_image_edges, bool):
            raise ValueError('local.keep_image_edges must be True or False, '
                             f'found {self.keep_image_edges!r}')
        if self.windows is not None:
            check_count('local.windows', self.windows)
        check_between('local.max_area', self.max_area, 0, 1e12)
        check_between('local.crop_scale', self.crop_scale, 1, 100)
        check_between('local.max_zoom_out', self.max_zoom_out, 0, 1e6)
        object.__setattr__(
            self, 'thresholds',
            checked_thresholds('local.thresholds', self.thresholds))

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
        max_masks (int): under 200 in the paper; the best stay after step 3,
            see `finish`; how many were dropped is counted.
        max_candidates (int): the best stay after step 2, so that a picture
            of gravel does not take an hour to refine; counted too.
        local (LocalOptions, optional): step 2; None leaves it out.
        refiner (dict, optional): step 3, see `build_refiner`; None or type
            'none' leaves it out.
        sharpness (float, optional): of the patches' membership that step 3
            starts from, see `patch_membership`; None starts from whole
            patches, as `cascadepsp` does.
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
    sharpness: float | None = 10.0
    refine_min_iou: float = 0.5
    coverage: float = 0.9

    def __post_init__(self) -> None:
        for key in ('image_size', 'min_patches', 'max_masks',
                    'max_candidates'):
            check_count(key, getattr(self, key))
        for key in ('nms_iou', 'refine_min_iou', 'coverage'):
            check_between(key, getattr(self, key), 0, 1)
        if self.sharpness is not None:
            check_between('sharpness', self.sharpness, 1e-3, 1e3)
        object.__setattr__(self, 'refiner', checked_refiner(self.refiner))
        if self.refiner.get('type') == 'joint_densecrf':
            raise ValueError("refiner 'joint_densecrf' refines partitions, "
                             "which pseudo_labels.type='hassod' makes; for "
                             "single masks use 'densecrf' or 'cascadepsp'")
        object.__setattr__(
            self, 'thresholds',
            checked_thresholds('thresholds', self.thresholds))

    @property
    def membership(self) -> float | None:
        """The sharpness, or None where step 3 would not look at it."""
        soft = self.refiner.get('type') in ('densecrf', 'localcrf')
        return self.sharpness if soft else None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> 'ExploreOptions':
        """Build from a config's dict, with `local` a dict or None.

        Raises:
            ValueError: for an unknown key or a value out of range, by name.
        """
        if isinstance(values, Mapping) and values.get('local') is not None:
            local = values['local']
            if not isinstance(local, LocalOptions):
                local = build_options(LocalOptions, local, 'local')
            values = dict(values, local=local)
        return build_options(cls, values, 'pseudo_labels')
