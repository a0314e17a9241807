"""What the pages say runs, and what they point at is there."""
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / 'docs').glob('*.md')) + [ROOT / 'README.md']
# Written when the site is built.
GENERATED = ('reference.md', 'configs.md')
_BLOCK = re.compile(r'^```(\w+)\n(.*?)^```', re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_examples_of_extend_run(tmp_path):
    text = (ROOT / 'docs/extend.md').read_text()
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    script = []
    for language, code in _BLOCK.findall(text):
        assert language == 'python'
        name = re.match(r'# file: (\S+)\n', code)
        if name:
            (tmp_path / name[1]).write_text(code)
        else:
            script.append(code)
    assert len(script) == 3
    # The refiner of the first example also does what it says.
    probe = (
        'import numpy as np\n'
        'from sohes.pseudo_labels.proposals import Proposal\n'
        'from sohes.pseudo_labels.refinement import build_refiner\n'
        'grid = np.zeros((32, 32), bool)\n'
        'grid[8:24, 8:24] = True\n'
        'grid[15:17, 24:32] = True\n'
        'item = Proposal(grid, (0, 0, 32, 32), 1.0, 1)\n'
        'refine = build_refiner(dict(type="my_refiner.Opening", width=5))\n'
        'mask, iou = refine(np.zeros((32, 32, 3), np.uint8), item)\n'
        'assert mask.sum() == 256 and not mask[:, 24:].any()\n'
        'assert abs(iou - 256 / 272) < 1e-6, iou\n')
    done = subprocess.run(
        [sys.executable, '-c', '\n'.join([*script, probe])], cwd=tmp_path,
        capture_output=True, text=True, timeout=300,
        env={**_environment(), 'PYTHONPATH': f'{ROOT}:{tmp_path}'})
    assert done.returncode == 0, done.stderr


def _environment() -> dict[str, str]:
    import os
    return dict(os.environ, OMP_NUM_THREADS='1')


@pytest.mark.slow
def test_python_of_the_readme_runs(shared_data, tmp_path, monkeypatch):
    """On a real photo, with small random weights in place of real ones."""
    from pycocotools.coco import COCO

    from sohes.datasets.entity_index import EntityIndex
    from sohes.structures import Entities
    from tests.test_tools.tiny_vit import save_tiny_vit
    from tests.tiny_entities import save_tiny_model
    monkeypatch.chdir(tmp_path)
    photo = sorted((shared_data / 'unlabelled').glob('*.jpg'))[0]
    (tmp_path / 'photo.jpg').symlink_to(photo)
    save_tiny_vit(tmp_path / 'vit.pth')
    save_tiny_model(tmp_path, 'sohes-HASH')
    text = (ROOT / 'README.md').read_text()
    blocks = [code for language, code in _BLOCK.findall(text)
              if language == 'python']
    assert any('label_image' in code for code in blocks)
    found: dict = {}
    exec('\n'.join(blocks).replace("'dinov2_vits14'", "'vit.pth'"), found)
    labelled, predicted = found['photo'], found['result']['predictions'][0]
    height, width = labelled.image.shape[:2]
    masks = labelled.masks()
    assert masks.shape == (len(labelled.scores), height, width)
    assert masks.any((1, 2)).all() and len(masks) > 1
    with Image.open(tmp_path / 'forest.jpg') as picture:
        assert picture.size[0] == 1880
    coco = COCO(str(tmp_path / 'entities.json'))
    rows = coco.loadAnns(coco.getAnnIds())
    for row, mask in zip(rows, masks, strict=True):
        assert (coco.annToMask(row) == mask).all()
    # What training reads is the relation that was found.
    index = EntityIndex.open(tmp_path / 'entities.json')
    assert index.file_name(0) == 'photo.jpg'
    forest = index.entities(0).forest
    assert forest == labelled.forest
    assert (forest.ancestors == labelled.forest.ancestors).all()
    assert len(predicted['parents']) == len(predicted['masks']) > 1
    again = Entities.from_coco(
        json.loads((tmp_path / 'found.json').read_text()))
    assert len(again) == sum(score >= .3 for score in predicted['scores'])
    assert {path.name for path in (tmp_path / 'outputs/vis').iterdir()} == {
        'photo.jpg.forest.jpg'}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_and_files_exist(page):
    text = page.read_text()
    for target in re.findall(r'\]\(([^)\s]+)\)', text):
        if '://' in target or target.startswith('#'):
            continue
        path = page.parent / target.split('#')[0]
        assert path.exists() or path.name in GENERATED, target
        # The documentation is built from docs/ alone.
        assert page.parent != ROOT / 'docs' or not target.startswith('..'), (
            f'{target}: Sphinx does not know it; name it in `...`')
    # Commands name files of the repository as they are.
    for code in (code for _, code in _BLOCK.findall(text)):
        for name in re.findall(
                r'(?<![\w/.])(?:tools|configs|demo|benchmarks)/[\w/.-]+',
                code):
            assert (ROOT / name.rstrip('.')).exists(), name


def test_every_page_is_in_the_contents():
    listed = re.findall(r'^\w+$', (ROOT / 'docs/index.md').read_text(),
                        re.MULTILINE)
    pages = {page.stem for page in PAGES if page.parent.name == 'docs'}
    generated = {Path(name).stem for name in GENERATED}
    assert set(listed) == (pages | generated) - {'index'}


@pytest.mark.slow
def test_tutorial_runs(shared_data, monkeypatch):
    nbformat = pytest.importorskip('nbformat')
    nbclient = pytest.importorskip('nbclient')
    weights = shared_data / 'weights/dinov2_vits14_imgfocus_fp16.safetensors'
    monkeypatch.setenv('SOHES_WEIGHTS', str(weights))
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    notebook = nbformat.read(ROOT / 'demo/sohes_tutorial.ipynb', 4)
    # No outputs are kept in the repository.
    assert not any(cell.get('outputs') for cell in notebook.cells)
    nbclient.NotebookClient(notebook, timeout=300, startup_timeout=300,
                            kernel_name='python3', resources=dict(
                                metadata=dict(path=ROOT / 'demo'))).execute()
    printed = ''.join(
        output.get('text', '') for cell in notebook.cells
        for output in cell.get('outputs', []))
    assert '37 x 37 patches, 384 numbers each' in printed
    assert re.search(r'[1-9]\d* masks, [1-9]\d* of them part of', printed)
    pictures = [output for cell in notebook.cells
                for output in cell.get('outputs', [])
                if 'image/png' in output.get('data', {})]
    assert len(pictures) == 4
