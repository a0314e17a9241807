"""The index of a json as large as 220 000 images x 100 masks, or a part.

    python benchmarks/entity_index.py [--fraction 0.02] [--dir FOLDER]

Writes a simulated json, builds its index, opens it, and reads it with 8
worker processes of a DataLoader's kind (forked, each through all images).
Figures are of the fraction; bytes and build time are also given for the
whole, as both grow with the number of annotations (no images are loaded).
"""
import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sohes.environment import check_environment

check_environment()

import numpy as np
from pycocotools import mask as coco_mask

from sohes.datasets.entity_index import EntityIndex

IMAGES, MASKS, WORKERS = 220_000, 100, 8
HEIGHT, WIDTH = 1500, 2250  # SA-1B's usual size


def simulated_rles(count: int, seed: int = 0) -> list[str]:
    """Outlines as uneven as those of pseudo-labels, of all sizes."""
    rng = np.random.default_rng(seed)
    texts = []
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    for _ in range(count):
        radius = np.exp(rng.uniform(np.log(15), np.log(500)))
        waves = sum(rng.normal() / k * np.cos(k * angles + rng.uniform(0, 6))
                    for k in range(2, 20))
        edge = radius * (1 + 0.15 * waves)
        x = np.clip(rng.uniform(0, WIDTH) + edge * np.cos(angles), 0, WIDTH)
        y = np.clip(rng.uniform(0, HEIGHT) + edge * np.sin(angles), 0, HEIGHT)
        polygon = np.stack([x, y], 1).ravel().tolist()
        rle = coco_mask.frPyObjects([polygon], HEIGHT, WIDTH)[0]
        texts.append(rle['counts'].decode())
    return texts


def lines(images: int, rles: list[str]) -> Iterator[str]:
    """The json, piece by piece; every mask's parent is one before it."""
    yield '{"images": ['
    for k in range(images):
        row = dict(id=k + 1, file_name=f'folder/image_{k:08d}.jpg',
                   height=HEIGHT, width=WIDTH)
        yield f'{"," if k else ""}\n{json.dumps(row)}'
    yield '],\n"annotations": ['
    for k in range(images * MASKS):
        row = dict(
            id=k + 1, image_id=k // MASKS + 1, category_id=1, iscrowd=0,
            parent_id=k if k % MASKS % 3 else None,
            segmentation=dict(size=[HEIGHT, WIDTH], counts=''),
            bbox=[0, 0, 10, 10], area=100, score=0.123456)
        text = json.dumps(row).replace(
            '"counts": ""', f'"counts": {json.dumps(rles[k % len(rles)])}')
        yield f'{"," if k else ""}\n{text}'
    yield '],\n"categories": [{"id": 1, "name": "entity"}]}\n'


def private_mib() -> float:
    """Memory of this process that no other shares, in MiB."""
    with open('/proc/self/smaps_rollup') as file:
        return sum(int(line.split()[1]) for line in file
                   if line.startswith('Private_')) / 1024


def read_all(index: EntityIndex, worker: int, queue: object) -> None:
    """What a worker does to the index, without images."""
    before = private_mib()
    masks = 0
    for k in np.random.default_rng(worker).permutation(len(index)).tolist():
        masks += int(index.entities(k).records['area'].sum() > 0)
        index.entities(k).blob.sum()
    queue.put((before, private_mib(), masks))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--fraction', type=float, default=0.02)
    parser.add_argument('--dir', help='where to write; deleted afterwards')
    args = parser.parse_args()
    images = max(1, round(IMAGES * args.fraction))
    count = images * MASKS
    folder = Path(tempfile.mkdtemp(dir=args.dir))
    try:
        rles = simulated_rles(500)
        path = folder / 'one_image.json'
        path.write_text(''.join(lines(1, rles)))
        EntityIndex.open(path)  # compiles, which is not to be measured
        path = folder / 'labels.json'
        with open(path, 'w') as file:
            file.writelines(lines(images, rles))
        report(path, count)
    finally:
        shutil.rmtree(folder)


def report(path: Path, count: int) -> None:
    whole = IMAGES * MASKS
    scale = whole / count
    print(f'a fraction of {count / whole:.3%}: {count} annotations')
    size = path.stat().st_size
    start, cpu = time.perf_counter(), time.process_time()
    index = EntityIndex.open(path)
    cpu = time.process_time() - cpu
    print(f'build: {time.perf_counter() - start:.1f} s '
          f'({cpu:.1f} s of one core)')
    kept = sum(f.stat().st_size for f in index.folder.iterdir())
    rle = (index.folder / 'rle.bin').stat().st_size
    print(f'json {size / count:.0f} bytes an annotation, index '
          f'{kept / count:.0f} (of these {rle / count:.0f} RLE)')
    print(f'for all {whole}, as it is linear: json {size * scale / 1e9:.1f} '
          f'GB, index {kept * scale / 1e9:.1f} GB, build '
          f'{cpu * scale / 60:.0f} min of one core')
    start = time.perf_counter()
    index = EntityIndex.open(path)
    print(f'load: {1000 * (time.perf_counter() - start):.1f} ms at this size')
    fork = multiprocessing.get_context('fork')
    queue = fork.Queue()
    workers = [fork.Process(target=read_all, args=(index, k, queue))
               for k in range(WORKERS)]
    for worker in workers:
        worker.start()
    found = [queue.get() for _ in workers]
    for worker in workers:
        worker.join()
    grown = sum(after - before for before, after, _ in found)
    print(f'{WORKERS} workers after reading everything: private memory '
          f'{sum(after for _, after, _ in found):.0f} MiB together, grown by '
          f'{grown:.1f} MiB')
    print(f'mapped by all: {kept / 2**20:.0f} MiB; pid {os.getpid()} private '
          f'{private_mib():.0f} MiB')


if __name__ == '__main__':
    main()
