"""Set-up compiles what a run compiles."""
import pytest

from sohes.pseudo_labels import local_crf_kernels, proposals
from sohes.pseudo_labels.warm_up import warm_up
from sohes.structures import mask_ops


@pytest.mark.parametrize('module, names', [
    (local_crf_kernels, ('likeness', 'unary', 'mean_field')),
    (proposals, ('_keep_first_nodes', )),
    (mask_ops, ('_areas', '_intersections')),
])
def test_every_kernel_is_compiled(module, names):
    labels = warm_up()
    assert len(labels.rles) > 0 and labels.counts['windows'] == 1
    assert all(getattr(module, name).signatures for name in names)
