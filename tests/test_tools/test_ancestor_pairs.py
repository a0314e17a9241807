"""How much of the pairwise relation a json carries."""
import json

import numpy as np

from tests.test_datasets.coco_files import (
    annotation,
    box_mask,
    dataset,
    write,
)


def test_what_is_lost_without_ancestor_ids(run_tool, tmp_path):
    # Two wholes that overlap, a part in both, and a subpart that is to nine
    # tenths in the part and in the second whole, to eight in the first.
    masks = np.stack([box_mask(1, 60, left, 0, right, 1) for left, right in (
        (0, 30), (10, 50), (11, 29), (11, 20))])
    masks[0, 0, 11] = False
    masks[3, 0, 55] = True
    rows = [annotation(k, 5, mask, parent_id=parent) for k, (mask, parent)
            in enumerate(zip(masks, (None, None, 1, 3)), 1)]
    data = dataset([(5, 'a.png', 1, 60)], rows)
    path = write(tmp_path / 'x.json', data)
    tool = 'tools/analysis_tools/ancestor_pairs.py'
    trees = ('trees alone: 2 kept (50.0 %), 2 lost, 1 that the test does not '
             'give')
    lines = run_tool(tool, path).stdout.splitlines()
    assert lines == ['1 images, 4 pairs by the test of section 3.1', trees,
                     trees.replace('trees alone', 'as loaded  ')]
    for row, above in zip(rows, ([], [], [1, 2], [2, 3])):
        row['ancestor_ids'] = above
    path.write_text(json.dumps(data, indent=1))
    lines = run_tool(tool, path, '--table-6b').stdout.splitlines()
    assert lines[2] == ('as loaded  : 4 kept (100.0 %), 0 lost, 0 that the '
                        'test does not give')
    assert lines[4].startswith('| theta_cover | more pairs % |')
    assert '| 0.9 | 0.0 | 0.0 | 0.0 | 0.0 |' in lines


def test_bad_input_is_one_sentence(run_tool, tmp_path):
    done = run_tool('tools/analysis_tools/ancestor_pairs.py',
                    tmp_path / 'x.json')
    assert done.returncode == 2 and 'x.json does not exist' in done.stderr
