"""The viewer, driven in a real browser as a person would."""
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from sohes.structures import EntityForest
from sohes.visualization.viewer import Photo, ReportWriter, photo_page
from tests.browser import chromium, watched

#: Of the drawing below, in pixels.
HEIGHT, WIDTH = 24, 36
#: left, top, right, bottom; parent. A whole, its half, a part of that; and
#: another whole.
DRAWN = (((2, 2, 22, 22), -1), ((2, 2, 12, 22), 0), ((4, 4, 9, 9), 1),
         ((26, 4, 34, 20), -1))


def rle(mask: np.ndarray) -> dict[str, Any]:
    return coco_mask.encode(np.asfortranarray(mask, np.uint8))


def drawn_masks() -> np.ndarray:
    masks = np.zeros((len(DRAWN), HEIGHT, WIDTH), bool)
    for mask, ((left, top, right, bottom), _) in zip(masks, DRAWN):
        mask[top:bottom, left:right] = True
    return masks


def drawn_photo(name: str = 'a/drawn.png') -> Photo:
    return Photo(
        name, np.full((HEIGHT, WIDTH, 3), 90, np.uint8),
        [rle(mask) for mask in drawn_masks()],
        EntityForest([parent for _, parent in DRAWN]),
        np.array([.9, .8, .7, .6]), image_id=7, ids=[11, 12, 13, 14])


@pytest.fixture(scope='module')
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope='module')
def report(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('viewer') / 'report'
    with ReportWriter(folder, 'drawn & more') as writer:
        writer.add(drawn_photo())
        for number in range(64):
            writer.add(Photo(f'b/{number}.png',
                             np.full((8, 8 + number, 3), 200, np.uint8), [],
                             EntityForest([]), np.zeros(0),
                             image_id=number + 100))
    return folder


@pytest.fixture(scope='module')
def only_page(browser):
    with watched(browser, viewport=dict(width=1280, height=800)) as page:
        yield page


@pytest.fixture
def page(only_page, report):
    """The report, as it opens; the mouse is where nothing lies."""
    only_page.goto('about:blank')
    only_page.goto((report / 'index.html').as_uri())
    only_page.wait_for_selector('[data-ready=yes]')
    only_page.mouse.move(1, 1)
    return only_page


def click(page: Any, x: float, y: float) -> None:
    """Click the middle of a pixel of the photo."""
    box = page.locator('canvas').bounding_box()
    page.mouse.click(box['x'] + (x + .5) / WIDTH * box['width'],
                     box['y'] + (y + .5) / HEIGHT * box['height'])


def state(page: Any) -> tuple[str, str]:
    """Ids of the selected mask and its parent."""
    found = page.locator('#viewer').evaluate('e => ({...e.dataset})')
    return found['selected'], found['parent']


def brightness(page: Any) -> np.ndarray:
    """(H, W), 0 to 255: the canvas at the middle of each pixel."""
    picture = Image.open(io.BytesIO(page.locator('canvas').screenshot()))
    pixels = np.asarray(picture.convert('L'), np.int64)
    rows, columns = (
        ((np.arange(count) + .5) / count * side).astype(int)
        for count, side in zip((HEIGHT, WIDTH), pixels.shape))
    return pixels[rows][:, columns]


def test_click_selects_the_part_and_its_parent_lights_up(page):
    assert state(page) == ('', '')
    click(page, 6, 6)
    assert state(page) == ('13', '12')
    shade = brightness(page)
    selected, parent = drawn_masks()[2], drawn_masks()[1]
    outside = ~parent
    # The parent without the part, and the part, stand out from the dark.
    assert shade[parent & ~selected].min() > shade[outside].max() + 30
    assert shade[selected].min() > shade[outside].max() + 30
    # On the pixels exactly: all outside is one even shade.
    assert np.ptp(shade[outside]) <= 2


def test_arrow_keys_walk_the_tree(page):
    click(page, 6, 6)
    steps = [('ArrowUp', '12'), ('ArrowUp', '11'), ('ArrowUp', '11'),
             ('ArrowRight', '14'), ('ArrowLeft', '11'), ('ArrowDown', '12'),
             ('ArrowDown', '13'), ('ArrowDown', '13'), ('Escape', '')]
    for key, expected in steps:
        page.keyboard.press(key)
        assert state(page)[0] == expected, key


def test_buttons_and_lists_do_as_the_keys(page):
    assert page.locator('.sv-list button').evaluate_all(
        'all => all.map((b) => b.dataset.id)') == ['11', '14']
    page.click('.sv-list [data-id="11"]')
    assert 'No parts' not in page.inner_text('.sv-title')
    page.click('[data-step=down]')
    page.click('.sv-list [data-id="13"]')
    assert state(page) == ('13', '12')
    assert page.locator('.sv-path button').all_inner_texts() == [
        '#11', '#12', '#13']
    assert 'score 0.70' in page.inner_text('.sv-facts')
    assert page.inner_text('.sv-title') == 'No parts'
    page.click('[data-step=up]')
    assert state(page) == ('12', '11')
    page.click('.sv-path [data-id="11"]')
    assert page.is_disabled('[data-step=up]')


def test_further_clicks_climb_and_return(page):
    for expected in ('13', '12', '11', '13'):
        click(page, 6, 6)
        assert state(page)[0] == expected
    click(page, 24, 1)
    assert state(page) == ('', '')


def test_hover_lights_up_without_selecting(page):
    before = brightness(page)
    box = page.locator('canvas').bounding_box()
    page.mouse.move(box['x'] + box['width'] * 30 / WIDTH,
                    box['y'] + box['height'] * 10 / HEIGHT)
    assert '#14' in page.inner_text('.sv-tip')
    assert state(page) == ('', '')
    assert np.abs(brightness(page) - before).max() > 30


def set_slider(page: Any, value: int) -> None:
    page.eval_on_selector('input[type=range]', """(range, value) => {
        range.value = value;
        range.dispatchEvent(new Event('input'));
    }""", value)


def test_slider_hides_deep_masks(page):
    set_slider(page, 1)
    click(page, 6, 6)
    assert state(page) == ('12', '11')
    assert page.inner_text('.sv-title') == 'No parts'
    set_slider(page, 0)  # what was selected goes: its parent takes over
    assert state(page) == ('11', '')
    assert page.inner_text('output') == '2 of 4 masks'


def test_slider_hides_small_masks(page):
    page.select_option('select', 'area')
    areas = drawn_masks().sum((1, 2))
    seen = set()
    for value in range(40, -1, -4):
        set_slider(page, value)
        seen.add(page.inner_text('output'))
    # 400, 200, 25 and 128 pixels, the largest last
    assert sorted(areas) == [25, 128, 200, 400]
    assert seen == {f'{k} of 4 masks' for k in (1, 2, 3, 4)}
    click(page, 6, 6)
    assert state(page) == ('11', '')


def test_download_is_labels_that_read_back(page, tmp_path):
    with page.expect_download() as download:
        page.click('.sv-save')
    assert download.value.suggested_filename == 'drawn.png.json'
    path = tmp_path / 'labels.json'
    download.value.save_as(path)
    coco = COCO(str(path))
    assert [image['file_name'] for image in coco.loadImgs(coco.getImgIds())
            ] == ['a/drawn.png']
    rows = coco.loadAnns(coco.getAnnIds())
    assert [(row['id'], row['parent_id'], row['score']) for row in rows] == [
        (11, None, .9), (12, 11, .8), (13, 12, .7), (14, None, .6)]
    for row, mask in zip(rows, drawn_masks()):
        assert (coco.annToMask(row) == mask).all()
        assert row['area'] == mask.sum()
        assert row['bbox'] == coco_mask.toBbox(rle(mask)).tolist()


def test_download_holds_what_the_slider_shows(page, tmp_path):
    set_slider(page, 0)
    with page.expect_download() as download:
        page.click('.sv-save')
    rows = json.loads(Path(download.value.path()).read_text())['annotations']
    assert [(row['id'], row['parent_id']) for row in rows] == [(11, None),
                                                               (14, None)]


def test_masks_of_any_shape_are_drawn_on_their_pixels(page, rng):
    """Polygons filled at 3 screen pixels a pixel give the mask back."""
    height, width = 23, 31
    masks = np.concatenate([
        rng.random((3, height, width)) < [[[.5]], [[.05]], [[.95]]],
        np.zeros((1, height, width), bool), np.ones((1, height, width), bool),
        [np.indices((height, width)).sum(0) % 2 == 0]])
    found = page.evaluate("""([texts, width, height]) => texts.map((text) => {
        const mask = new Sohes.Mask(text, width, height);
        const canvas = document.createElement('canvas');
        canvas.width = 3 * width;
        canvas.height = 3 * height;
        const pen = canvas.getContext('2d');
        pen.scale(3, 3);
        pen.fill(mask.outline, 'evenodd');
        const {data} = pen.getImageData(0, 0, 3 * width, 3 * height);
        const inside = [];
        for (let at = 3; at < data.length; at += 4) inside.push(data[at]);
        return {area: mask.area, inside};
    })""", [[rle(mask)['counts'].decode() for mask in masks], width, height])
    for mask, drawn in zip(masks, found):
        large = mask.repeat(3, 0).repeat(3, 1)
        assert drawn['area'] == mask.sum()
        assert (np.reshape(drawn['inside'], large.shape)
                == large * 255).all()


def test_photos_load_when_they_are_looked_at(page, report):
    assert len(list((report / 'data').rglob('*.js'))) == 65
    loaded = page.evaluate('performance.getEntriesByType("resource")'
                           '.filter((e) => e.name.includes("/data/")).length')
    assert loaded <= 1
    assert page.locator('#strip button').count() == 60
    page.click('#newer')
    assert page.locator('#strip button').count() == 5
    page.click('#strip [data-photo="64"]')
    page.wait_for_function('document.querySelector("#name").textContent '
                           '=== "b/63.png"')
    page.keyboard.press('p')
    page.wait_for_function('location.hash === "#64"')
    page.fill('#search', 'drawn')
    assert page.locator('#strip button').count() == 1
    page.click('#strip button')
    page.wait_for_selector('.sv-list [data-id="11"]')


@pytest.mark.parametrize('width, height, scheme', [
    (1280, 800, 'light'), (390, 844, 'dark')])
def test_everything_fits_the_screen(browser, report, width, height, scheme):
    with watched(browser, viewport=dict(width=width, height=height),
                 color_scheme=scheme) as page:
        page.goto((report / 'index.html').as_uri())
        page.wait_for_selector('[data-ready=yes]')
        click(page, 6, 6)
        overflow = page.evaluate("""[document.body.scrollWidth - innerWidth,
            document.documentElement.scrollHeight - innerHeight]""")
        assert max(overflow) <= 0
        boxes = [page.locator(query).bounding_box() for query in (
            '.bar', 'canvas', '.sv-panel', '.strip')]
        for box in boxes:
            assert box['x'] >= 0 and box['x'] + box['width'] <= width
            assert box['y'] >= 0 and box['y'] + box['height'] <= height
        for above, below in ((0, 1), (0, 2), (1, 3), (2, 3)):
            assert (boxes[above]['y'] + boxes[above]['height']
                    <= boxes[below]['y'])
        ground = page.evaluate(
            'getComputedStyle(document.body).backgroundColor')
        level = int(ground.split('(')[1].split(',')[0])
        assert (level > 128) == (scheme == 'light')


def test_the_page_of_one_photo_needs_no_other_file(browser, tmp_path):
    path = tmp_path / 'one.html'
    path.write_text(photo_page(drawn_photo('</script>"&.png')), 'utf-8')
    with watched(browser) as page:
        page.goto(path.as_uri())
        page.wait_for_selector('[data-ready=yes]')
        click(page, 6, 6)
        assert state(page) == ('13', '12')


def test_real_labels_lie_on_a_real_photo(browser, shared_data, tmp_path):
    source = shared_data / 'bsds500'
    content = json.loads((source / 'entities_val.json').read_text())
    row = content['images'][0]
    image = np.asarray(Image.open(
        source / 'images' / 'val' / row['file_name']).convert('RGB'))
    rles = [item['segmentation'] for item in content['annotations']
            if item['image_id'] == row['id']]
    path = tmp_path / 'one.html'
    path.write_text(photo_page(Photo(
        'x', image, rles,
        EntityForest.from_masks(rles), np.ones(len(rles)))), 'utf-8')
    with watched(browser) as page:
        page.goto(path.as_uri())
        page.wait_for_selector('[data-ready=yes]')
        areas = page.evaluate('Sohes.viewer.forest.areas')
        assert areas == coco_mask.area(rles).tolist()
        boxes = page.evaluate('Sohes.viewer.forest.masks.map((m) => m.box)')
        assert boxes == coco_mask.toBbox(rles).astype(int).tolist()
