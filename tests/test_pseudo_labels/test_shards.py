"""A shard that is not whole, or not this run's, is labelled again."""
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sohes.pseudo_labels.shards import ShardFolder, failed_record

NAMES = [f'{number}.png' for number in range(4)]


def record(name: str) -> dict:
    """As to_record makes it: a mask of the upper half, and a part of it."""
    masks = np.zeros((8, 10, 2), np.uint8, order='F')
    masks[:4, :, 0] = masks[:2, :, 1] = 1
    return dict(
        file_name=name, height=8, width=10, sha256='a' * 64,
        counts=dict(masks=2),
        annotations=[
            dict(segmentation=dict(size=[8, 10],
                                   counts=rle['counts'].decode()),
                 bbox=[0, 0, 10, 4], area=40, parent=None if k == 0 else 0,
                 ancestors=[0] * k, score=0.5)
            for k, rle in enumerate(coco_mask.encode(masks))])


@pytest.fixture
def shards(tmp_path) -> ShardFolder:
    """Two shards of two images; one image could not be read."""
    shards = ShardFolder(tmp_path / 'labels.json', dict(a=1), NAMES, 2)
    shards.open()
    shards.write(0, [record('0.png'), record('1.png')])
    shards.write(1, [failed_record('2.png', 'no image'), record('3.png')])
    return shards


def changed(path: Path, line: int, change: Callable[[object], object]
            ) -> None:
    """Put another value in place of a line's."""
    lines = path.read_text().splitlines()
    lines[line] = json.dumps(change(json.loads(lines[line])))
    path.write_text('\n'.join(lines) + '\n')


def mask_with(**changes: object) -> Callable[[Path], None]:
    """The second mask of the first image is another."""
    return lambda path: changed(path, 1, lambda masks: [
        masks[0], {**masks[1], **changes}])


def image_with(**changes: object) -> Callable[[Path], None]:
    """The first image of the header is another."""
    return lambda path: changed(path, 0, lambda header: {
        **header, 'images': [{**header['images'][0], **changes},
                             header['images'][1]]})


def cut(count: int) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(path.read_bytes()[:-count])


def written(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content)


def other_shard(path: Path) -> None:
    path.write_bytes(path.with_name('shard-0000001.jsonl').read_bytes())


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link(path: Path) -> None:
    path.rename(path.with_name('kept'))
    path.symlink_to('kept')


BROKEN = {
    'cut by a byte': (cut(1), 'cut off'),
    'cut in a line': (cut(30), 'cut off'),
    'without its last line': (lambda path: path.write_text(
        ''.join(path.read_text().splitlines(True)[:-1])), 'cut off'),
    'empty': (written(b''), 'cut off'),
    'binary': (written(bytes(range(256)) * 9), ''),
    'no json': (written(b'hello\n'), 'no json'),
    'a number': (written(b'7\n'), ''),
    'deep': (written(b'[' * 9999 + b'\n'), 'deep'),
    'of other images': (other_shard, "the image '3.png'"),
    'more lines': (lambda path: path.write_bytes(
        path.read_bytes() + b'[]\n'), 'more lines'),
    'a pipe': (pipe, 'no file'),
    'a link': (link, 'no file'),
    'another name': (image_with(file_name='9.png'), "the image '9.png'"),
    'an id of its own': (image_with(id=1), 'counts'),
    'another size': (image_with(height=9), 'size'),
    'no size': (image_with(height='x'), 'height'),
    'counts that are none': (image_with(counts=dict(masks='x')), 'counts'),
    'a broken mask': (mask_with(segmentation=dict(
        size=[8, 10], counts='0h9')), 'RLE'),
    'a parent that is none': (mask_with(parent=2), 'none of ours'),
    'its own parent': (mask_with(parent=1), ''),
    'an ancestor that is none': (mask_with(ancestors=[5]), 'none of ours'),
    'a score that is none': (mask_with(score='x'), 'none of ours'),
    'a key that is none': (mask_with(category_id=3), 'none of ours'),
}


@pytest.mark.parametrize('name', BROKEN)
def test_it_is_removed_and_said_so(shards, caplog, name):
    change, said = BROKEN[name]
    change(shards.path(0))
    with caplog.at_level(logging.WARNING, 'sohes'):
        ShardFolder(shards.out, dict(a=1), NAMES, 2).open()
    assert not shards.is_done(0) and not shards.path(0).is_symlink()
    assert shards.is_done(1)
    text, = caplog.messages
    assert str(shards.path(0)) in text and said in text
    assert 'its 2 images are labelled again' in text
    assert '\n' not in text and len(text) < 500


def test_whole_ones_stay(shards, caplog):
    before = shards.path(0).read_bytes()
    shards.open()
    assert shards.path(0).read_bytes() == before and shards.is_done(1)
    assert not caplog.messages
    assert [name for name, _ in shards.photos()] == [
        '0.png', '1.png', '3.png', '2.png']


@pytest.mark.parametrize('content', [
    b'', b'\xff\xfe', b'{', b'[' * 9999, b'7', b'{"format": 2}'])
def test_a_folder_that_does_not_say_its_run_is_refused(shards, content):
    (shards.folder / 'run.json').write_bytes(content)
    with pytest.raises(ValueError, match='--overwrite') as error:
        shards.open()
    assert str(shards.folder) in str(error.value)
    assert len(str(error.value)) < 1500 and '\n' not in str(error.value)
    assert shards.is_done(0)
