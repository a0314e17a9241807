"""The broken files of fuzz.py, made by a seed, and the code that reads them.

Each of :data:`KINDS` takes a folder and a source of random numbers, writes
a broken file into the folder and reads it as the project does.
"""
import copy
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: What a json may have where something else belongs.
VALUES = [None, True, False, 0, -1, 1, 2**31, 2**32 + 7, 2**53, 2**62, 2**63,
          -2**63, 2**64, 10**400, 0.5, -0.0, 1e300, 1e999, float('nan'),
          '', 'x', '\0', '../x.jpg', '/etc/passwd', 'a' * 5000, '\ud800', [],
          {}, [[]], [None], [1, 2, 3], {'size': [1, 1], 'counts': 'x'}]


def labels() -> dict[str, Any]:
    """A COCO json with each kind of segmentation, parents and ancestors."""
    size = [12, 10]
    masks = [dict(size=size, counts=[20, 50, 50]), [[1, 1, 8, 1, 8, 9, 1, 9]],
             dict(size=size, counts='0h3'), dict(size=size, counts=[0, 120])]
    rows = [
        dict(id=k + 1, image_id=1 + k // 3, category_id=1, iscrowd=0,
             area=9, bbox=[1, 1, 3, 3], score=0.5, segmentation=mask,
             parent_id=None if k % 3 == 0 else k,
             ancestor_ids=[] if k % 3 == 0 else [k])
        for k, mask in enumerate(masks)
    ]
    images = [dict(id=k, file_name=f'{k}.jpg', height=12, width=10)
              for k in (1, 2)]
    return dict(images=images, annotations=rows,
                categories=[dict(id=1, name='entity')])


def changed(value: Any, rng: random.Random) -> Any:
    """The same json with a few values replaced, removed or doubled."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        node = value
        while True:
            keys = (list(node) if isinstance(node, dict) else
                    range(len(node)))
            if not keys:
                break
            key = rng.choice(keys)
            inner = node[key]
            if isinstance(inner, (dict, list)) and inner and (
                    rng.random() < .85):
                node = inner
                continue
            action = rng.random()
            if action < .1:
                del node[key]
            elif action < .2 and isinstance(node, list):
                node.insert(key, copy.deepcopy(inner))
            elif action < .3:
                node[key] = nested(rng.choice([3, 70, 5000]), rng)
            else:
                node[key] = copy.deepcopy(rng.choice(VALUES))
            break
    return value


def nested(depth: int, rng: random.Random) -> Any:
    """Brackets within brackets; deep ones come as raw text."""
    found: Any = 1
    for _ in range(min(depth, 400)):
        found = [found] if rng.random() < .5 else {'k': found}
    return found


def broken(data: bytes, rng: random.Random) -> bytes:
    """The same bytes with some changed, cut, doubled or put in."""
    found = bytearray(data)
    for _ in range(rng.choice([0, 1, 1, 2, 8, 40])):
        if not found:
            break
        at = rng.randrange(len(found))
        action = rng.randrange(5)
        if action == 0:
            found[at] = rng.randrange(256)
        elif action == 1:
            found[at] ^= 1 << rng.randrange(8)
        elif action == 2:
            del found[at:at + rng.choice([1, 4, 100])]
        elif action == 3:
            found[at:at] = found[at:at + rng.choice([1, 4, 100])]
        else:
            found[at:at + 4] = rng.choice([
                b'\xff\xff\xff\xff', b'\0\0\0\0', b'\x7f\xff\xff\xff',
                b'\xff\xff\xff\x7f', b'\x80\0\0\0'])
    if rng.random() < .2:
        del found[rng.randrange(len(found) + 1):]
    return bytes(found)


def json_bytes(rng: random.Random) -> bytes:
    """A json of labels, changed as values or as bytes."""
    text = json.dumps(changed(labels(), rng)).encode()
    if rng.random() < .3:
        text = broken(text, rng)
    if rng.random() < .02:
        text = b'[' * 200000
    return text


def read_labels(folder: Path, rng: random.Random) -> None:
    """Through the index, as training, browsing and filtering read it."""
    from sohes.datasets.entity_index import EntityIndex
    path = folder / 'labels.json'
    path.write_bytes(json_bytes(rng))
    index = EntityIndex.open(path)
    for position in range(len(index)):
        entities = index.entities(position)
        entities.rles(), entities.forest.depth, index.file_name(position)


def read_index(folder: Path, rng: random.Random) -> None:
    """An index that came with its json, for training and browsing."""
    import numpy as np

    from sohes.datasets.entity_index import EntityIndex
    from sohes.datasets.mask_sources import RleSource
    path = folder / 'indexed.json'
    path.write_text(json.dumps(labels()))
    place = EntityIndex.open(path).folder
    for file in rng.sample(sorted(place.iterdir()), rng.choice([1, 1, 2])):
        file.write_bytes(broken(file.read_bytes(), rng))
    index = EntityIndex.open(path)
    for position in range(len(index)):
        found = index.entities(position)
        found.forest.ancestors, index.file_name(position)
        height, width = found.size
        RleSource(found.blob, found.spans, height, width).draw(
            np.arange(20) * height // 20, np.arange(20) * width // 20)
        found.rles()


def evaluate_labels(folder: Path, rng: random.Random) -> None:
    """As ground truth, as predictions, or as a list of results."""
    from sohes.evaluation.coco_files import read_evaluation_input
    from sohes.evaluation.forest_pairs import annotated_entities
    from sohes.evaluation.mask_matching import match_image
    paths = folder / 'gt.json', folder / 'pred.json'
    whole = json.dumps(labels()).encode()
    which = rng.randrange(3)
    paths[0].write_bytes(json_bytes(rng) if which == 0 else whole)
    paths[1].write_bytes(whole if which == 0 else json_bytes(rng))
    if which == 2:
        rows = changed(labels()['annotations'], rng)
        paths[1].write_text(json.dumps(rows))
    data = read_evaluation_input(*paths)
    for row, image in zip(data.rows, data.images):
        match_image(image, (1, 10))
        annotated_entities(row, str(paths[0]))


def convert_labels(folder: Path, rng: random.Random) -> None:
    """Through the converters of COCO and of PACO."""
    from sohes.converters import coco_kinds
    from sohes.converters.coco_like import convert_coco_like
    path = folder / 'source.json'
    path.write_bytes(json_bytes(rng))
    convert_coco_like(rng.choice([coco_kinds.COCO, coco_kinds.PACO]), path,
                      folder / 'out.json', subset=True, overwrite=True,
                      quiet=True)


def photo_bytes(rng: random.Random) -> bytes:
    """A small photo of a random format and mode."""
    import numpy as np
    from PIL import Image
    kind, mode = rng.choice([
        ('PNG', 'RGB'), ('PNG', 'RGBA'), ('PNG', 'P'), ('PNG', 'I;16'),
        ('JPEG', 'RGB'), ('JPEG', 'CMYK'), ('TIFF', 'RGB'), ('TIFF', 'F'),
        ('TIFF', 'I;16'), ('GIF', 'P'), ('BMP', 'RGB'), ('PPM', 'RGB'),
        ('WEBP', 'RGBA'), ('JPEG2000', 'RGB'), ('AVIF', 'RGB')])
    pixels = np.arange(24 * 18 * 3, dtype=np.uint8).reshape(24, 18, 3)
    image = Image.fromarray(pixels)
    image = (Image.fromarray(pixels[..., 0].astype(np.uint16))
             if mode == 'I;16' else image.convert(mode))
    stream = io.BytesIO()
    options: dict[str, Any] = {}
    if kind == 'JPEG':
        options = dict(progressive=rng.random() < .5, exif=b'Exif\0\0MM\0*'
                       b'\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0')
    if kind == 'TIFF':
        options = dict(compression=rng.choice([None, 'tiff_lzw',
                                               'tiff_adobe_deflate']))
    image.save(stream, kind, **options)
    return stream.getvalue()


def read_photo(folder: Path, rng: random.Random) -> None:
    """Through load_image."""
    from sohes.pseudo_labels.images import load_image
    path = folder / 'photo.jpg'
    start = rng.choice([b'%!PS-Adobe-3.0 EPSF-3.0\n', b'8BPS', b'GRIB',
                        b'\x89HDF\r\n\x1a\n', b'\0' * 64])
    path.write_bytes(start if rng.random() < .05 else
                     broken(photo_bytes(rng), rng))
    load_image(path, 4_000_000)


def checkpoint_bytes(rng: random.Random) -> tuple[bytes, str]:
    """A small checkpoint, and the ending of its name."""
    import torch
    from safetensors.torch import save
    state = {f'backbone.{k}': torch.arange(12.).view(3, 4).t()
             for k in range(3)}
    state['patch_embed.proj.weight'] = torch.zeros(4, 3, 2, 2)
    config = rng.choice([
        'model = dict(type="A", b=(1, -2))\n', '{"model": {"type": "os.x"}}',
        'import os\n', '{"a": ' + '[' * 200 + '1', 'x = ' + '(' * 3000])
    content = dict(state_dict=state, optimizer=dict(state={0: state}),
                   meta=dict(cfg=config, iter=3))
    if rng.random() < .25:
        return save({k: v.contiguous() for k, v in state.items()},
                    dict(sohes='{"cfg": "{}"}')), '.safetensors'
    stream = io.BytesIO()
    torch.save(content, stream,
               _use_new_zipfile_serialization=rng.random() < .6)
    return stream.getvalue(), '.pth'


def read_model(folder: Path, rng: random.Random) -> None:
    """As a checkpoint with its configuration, or as weights of a ViT."""
    from sohes.apis.checkpoint_config import checkpoint_config
    from sohes.apis.checkpoints import read_checkpoint
    from sohes.weights.vit_files import read_tensors
    data, suffix = checkpoint_bytes(rng)
    path = folder / f'model{suffix}'
    path.write_bytes(broken(data, rng))
    if rng.random() < .3:
        read_tensors(path)
    else:
        checkpoint_config(path, read_checkpoint(path)['meta'])


KINDS: tuple[Callable[[Path, random.Random], None], ...] = (
    read_labels, read_index, evaluate_labels, convert_labels, read_photo,
    read_photo, read_model)


def sentences() -> tuple[type[Exception], ...]:
    """What is raised for a person to read."""
    from sohes.utils.errors import SohesError
    return (SohesError, )
