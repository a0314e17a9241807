'use strict';
/* One photo with its forest: new Sohes.Viewer(element).show(record). */
window.Sohes = window.Sohes || {};

const VIEWER = `
  <div class="sv-stage">
    <canvas tabindex="0" aria-label="the photo; arrow keys step through its
      forest"></canvas>
    <div class="sv-tip" hidden></div>
  </div>
  <aside class="sv-panel">
    <div class="sv-detail">
      <label for="sv-range">Detail</label>
      <select aria-label="what the slider limits">
        <option value="depth">by depth</option>
        <option value="area">by area</option>
      </select>
      <input id="sv-range" type="range" min="0" step="1">
      <output></output>
    </div>
    <div class="sv-steps">
      <button data-step="up" title="its parent (arrow up)">&uarr;
        <span>Parent</span></button>
      <button data-step="down" title="its largest part (arrow down)">&darr;
        <span>Part</span></button>
      <button data-step="before" title="the larger sibling (arrow left)"
        aria-label="the larger sibling">&larr;</button>
      <button data-step="after" title="the smaller sibling (arrow right)"
        aria-label="the smaller sibling">&rarr;</button>
      <button data-step="none" title="select nothing (Escape)"
        aria-label="select nothing">&times;</button>
    </div>
    <nav class="sv-path" aria-label="from the whole entity to the selected
      one"></nav>
    <p class="sv-facts" aria-live="polite"></p>
    <h2 class="sv-title"></h2>
    <ul class="sv-list"></ul>
    <div class="sv-actions">
      <label><input type="checkbox" checked> paint masks</label>
      <button class="sv-save"></button>
    </div>
  </aside>`;
const KEYS = {
  ArrowUp: 'up', ArrowDown: 'down', ArrowLeft: 'before',
  ArrowRight: 'after', Escape: 'none',
};
/** What a model that predicts levels calls them. */
const LEVELS = ['whole', 'part', 'subpart'];
/** Positions of the slider when it limits the area. */
const AREA_STEPS = 40;

Sohes.Viewer = class {
  constructor(root) {
    this.root = root;
    root.classList.add('sv');
    root.innerHTML = VIEWER;
    const find = (query) => root.querySelector(query);
    this.stage = find('.sv-stage');
    this.canvas = find('canvas');
    this.tip = find('.sv-tip');
    this.mode = find('select');
    this.range = find('input[type=range]');
    this.paint = find('input[type=checkbox]');
    this.forest = null;
    this.selected = this.hovered = -1;
    this._listen(find);
    new ResizeObserver(() => this.draw()).observe(this.stage);
  }

  _listen(find) {
    this.canvas.addEventListener('pointermove', (event) => {
      if (event.pointerType === 'mouse') this.hover(this._at(event), event);
    });
    this.canvas.addEventListener('pointerleave', () => this.hover(-1));
    this.canvas.addEventListener('click', (event) => {
      const found = this._at(event);
      // Clicks on the same part climb its tree, and from the root return.
      const again = found >= 0 && found === this._clicked
        && this.forest.path(found).includes(this.selected);
      const parent = again ? this.forest.parent(this.selected) : -1;
      this._clicked = found;
      this.tip.hidden = true;
      this.select(parent >= 0 ? parent : found);
    });
    document.addEventListener('keydown', (event) => this._key(event));
    this.root.querySelectorAll('[data-step]').forEach((button) => {
      button.addEventListener('click', () => this.step(button.dataset.step));
    });
    this.mode.addEventListener('change', () => this._resetRange());
    this.range.addEventListener('input', () => this._limit());
    this.paint.addEventListener('change', () => this.draw());
    find('.sv-save').addEventListener('click', () => this.save());
  }

  _key(event) {
    const step = KEYS[event.key];
    const busy = event.target.closest?.(
      'input:not([type=checkbox]), select, textarea');
    if (!step || busy || event.ctrlKey || event.altKey || event.metaKey) {
      return;
    }
    event.preventDefault();
    this.step(step);
  }

  /** Show a photo's record (see forest.js). */
  show(record) {
    this.forest = record && new Sohes.Forest(record);
    this.selected = this.hovered = -1;
    this.root.dataset.ready = '';
    this._painted = null;
    const photo = this.photo = new Image();
    photo.onload = photo.onerror = () => {
      if (photo !== this.photo) return;
      this.root.dataset.ready = photo.naturalWidth ? 'yes' : 'no photo';
      this.draw();
    };
    photo.src = record.image;
    this._resetRange();
  }

  select(k) {
    this.selected = k;
    const canvas = document.activeElement === document.body;
    if (canvas) this.canvas.focus({preventScroll: true});
    this._fill();
    this.draw();
  }

  hover(k, event) {
    this.tip.hidden = k < 0 || !event;
    if (!this.tip.hidden) {
      const box = this.stage.getBoundingClientRect();
      this.tip.textContent = this._label(k);
      const x = event.clientX - box.left, y = event.clientY - box.top;
      const room = box.width - this.tip.offsetWidth - 4;
      this.tip.style.left = `${Math.max(4, Math.min(x + 14, room))}px`;
      this.tip.style.top = `${y + 14 > box.height - 34 ? y - 38 : y + 14}px`;
    }
    if (k === this.hovered) return;
    this.hovered = k;
    this.draw();
  }

  /** Go to a neighbour in the forest; see KEYS. */
  step(where) {
    const {forest, selected} = this;
    if (!forest) return;
    let target = -1;
    if (where === 'up') {
      target = selected < 0 ? -1 : forest.parent(selected);
      // A whole entity has no parent: stay rather than lose the place.
      if (target < 0) target = selected;
    } else if (where === 'down') {
      target = forest.children(selected)[0] ?? selected;
    } else if (where !== 'none') {
      const siblings = forest.children(
        selected < 0 ? -1 : forest.parent(selected));
      const by = where === 'after' ? 1 : siblings.length - 1;
      target = selected < 0 ? siblings[0] ?? -1
        : siblings[(siblings.indexOf(selected) + by) % siblings.length];
    }
    this.select(target);
  }

  _at(event) {
    if (!this.forest) return -1;
    const box = this.canvas.getBoundingClientRect();
    const {width, height} = this.forest.record;
    return this.forest.at(
      Math.floor((event.clientX - box.left) / box.width * width),
      Math.floor((event.clientY - box.top) / box.height * height));
  }

  _resetRange() {
    this.range.max = this.mode.value === 'depth'
      ? this.forest.maxDepth : AREA_STEPS;
    this.range.value = this.range.max;
    this.range.disabled = this.range.max === '0';
    this._limit();
  }

  /** Hide what the slider says. */
  _limit() {
    const value = Number(this.range.value), {forest} = this;
    if (this.mode.value === 'depth') {
      forest.limit(value, 0);
    } else {
      // Even steps in the logarithm, from the smallest to the largest.
      const areas = forest.order.map((k) => Math.max(forest.areas[k], 1));
      const most = areas[0] ?? 1, least = areas[areas.length - 1] ?? 1;
      forest.limit(Infinity, value === AREA_STEPS ? 0
        : Math.floor(most * (least / most) ** (value / AREA_STEPS)));
    }
    this._painted = null;
    this.hovered = -1;
    if (this.selected >= 0 && !forest.shown[this.selected]) {
      this.selected = forest.parent(this.selected);
    }
    const count = forest.shownOrder.length;
    this.root.querySelector('output').textContent =
      `${count} of ${forest.masks.length} masks`;
    this.root.querySelector('.sv-save').textContent =
      `Download json (${count} mask${count === 1 ? '' : 's'})`;
    this._fill();
    this.draw();
  }

  save() {
    const text = JSON.stringify(this.forest.coco());
    const link = document.createElement('a');
    link.href = URL.createObjectURL(
      new Blob([text], {type: 'application/json'}));
    link.download = `${this.forest.record.name.split('/').pop()}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  /* ---- the panel ---- */

  _label(k) {
    const {record, areas} = this.forest;
    const share = 100 * areas[k] / (record.width * record.height);
    const level = record.levels ? ` \u00b7 ${LEVELS[record.levels[k]]}` : '';
    return `#${record.ids[k]} \u00b7 ${share.toPrecision(2)} %`
      + ` \u00b7 score ${record.scores[k].toFixed(2)}${level}`;
  }

  _fill() {
    const {forest, selected, root} = this;
    const id = (k) => k < 0 ? '' : String(forest.record.ids[k]);
    const parent = selected < 0 ? -1 : forest.parent(selected);
    root.dataset.selected = id(selected);
    root.dataset.parent = id(parent);
    const path = root.querySelector('.sv-path');
    path.replaceChildren(
      ...forest.path(selected).map((k) => this._button(k, `#${id(k)}`)));
    path.scrollLeft = path.scrollWidth;
    const children = forest.children(selected);
    const parts = `${children.length} part${children.length > 1 ? 's' : ''}`;
    root.querySelector('.sv-facts').textContent = selected < 0
      ? 'Click an entity, or step with the arrow keys.'
      : `${forest.areas[selected].toLocaleString('en')} pixels, `
        + this._label(selected).split(' \u00b7 ').slice(1).join(', ')
          .replace('%', '% of the photo')
        + `, depth ${forest.depths[selected]}`;
    root.querySelector('.sv-title').textContent = selected < 0
      ? `Whole entities (${children.length})`
      : children.length ? parts : 'No parts';
    root.querySelector('.sv-list').replaceChildren(...children.map((k) => {
      const item = document.createElement('li');
      item.append(this._button(k, this._label(k)));
      return item;
    }));
    const steps = {
      up: parent >= 0, down: children.length > 0,
      before: true, after: true, none: selected >= 0,
    };
    for (const [step, possible] of Object.entries(steps)) {
      root.querySelector(`[data-step=${step}]`).disabled = !possible;
    }
  }

  _button(k, text) {
    const button = document.createElement('button');
    button.textContent = text;
    button.dataset.id = this.forest.record.ids[k];
    button.style.setProperty('--swatch', this.forest.record.colors[k]);
    button.setAttribute('aria-current', String(k === this.selected));
    button.addEventListener('click', () => this.select(k));
    button.addEventListener('pointerenter', () => this.hover(k));
    button.addEventListener('pointerleave', () => this.hover(-1));
    return button;
  }
};
