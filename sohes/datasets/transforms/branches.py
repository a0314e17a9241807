"""Several views of one image, in an order that is always the same."""
from typing import Any

from mmdet.datasets.transforms import MultiBranch

from sohes.registry import TRANSFORMS


@TRANSFORMS.register_module()
class OrderedMultiBranch(MultiBranch):
    """mmdet's ``MultiBranch``, run in the order of ``branch_field``.

    The branches draw from the same random generators, so their order
    decides what each draws. mmdet's is that of the keys in the
    configuration, which mmengine sorts when it writes one to a work dir: a
    run resumed from that file would see other augmentations.

    Args:
        branch_field (list[str]): names of all branches.
        **branch_pipelines: the pipeline of each that has one.
    """

    def __init__(self, branch_field: list[str],
                 **branch_pipelines: Any) -> None:
        rank = {name: number for number, name in enumerate(branch_field)}
        super().__init__(
            branch_field,
            **dict(sorted(branch_pipelines.items(),
                          key=lambda item: rank[item[0]])))
