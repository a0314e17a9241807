'use strict';
/* Masks and their forest, apart from any page; viewer.js draws them.
 *
 * A photo's record, as sohes/visualization/viewer/__init__.py writes it:
 *   id, name, width, height  of the photo, in pixels
 *   image                    its URL, relative to the page, or data:
 *   ids, scores, colors      one a mask; colors as #rrggbb
 *   parents                  positions in these lists, -1 for a whole entity
 *   levels                   0 whole, 1 part, 2 subpart, where predicted
 *   counts                   COCO's compressed RLE, column by column
 */
window.Sohes = window.Sohes || {};

/** Read COCO's compressed counts: 5 bits a character, sign in the last,
 *  and from the third run on the difference to the one before the last. */
Sohes.decodeCounts = function (text) {
  const counts = [];
  for (let at = 0; at < text.length;) {
    let value = 0, weight = 1, bits;
    do {
      bits = text.charCodeAt(at++) - 48;
      value += (bits & 31) * weight;
      weight *= 32;
    } while (bits & 32);
    if (bits & 16) value -= weight;
    if (counts.length > 2) value += counts[counts.length - 2];
    counts.push(value);
  }
  return counts;
};

/** One mask, as the intervals [top, bottom) of each of its columns. */
Sohes.Mask = class {
  constructor(counts, width, height) {
    this.width = width;
    this.height = height;
    this.columns = new Map();
    this.area = 0;
    let at = 0;
    Sohes.decodeCounts(counts).forEach((count, k) => {
      if (k % 2) this._addRun(at, at + count);
      at += count;
    });
    this._outline = null;
  }

  _addRun(start, stop) {
    this.area += stop - start;
    while (start < stop) {
      const x = Math.floor(start / this.height);
      const top = start - x * this.height;
      const bottom = Math.min(this.height, top + stop - start);
      const column = this.columns.get(x) || [];
      const last = column[column.length - 1];
      if (last && last[1] === top) last[1] = bottom;
      else column.push([top, bottom]);
      this.columns.set(x, column);
      start += bottom - top;
    }
  }

  /** Whether the pixel of column x and row y is inside. */
  has(x, y) {
    const column = this.columns.get(x) || [];
    return column.some(([top, bottom]) => top <= y && y < bottom);
  }

  /** [x, y, width, height] in pixels, as COCO has it. */
  get box() {
    if (!this.columns.size) return [0, 0, 0, 0];
    const xs = [...this.columns.keys()];
    let top = Infinity, bottom = 0;
    for (const column of this.columns.values()) {
      top = Math.min(top, column[0][0]);
      bottom = Math.max(bottom, column[column.length - 1][1]);
    }
    const left = xs[0], right = xs[xs.length - 1];
    return [left, top, right + 1 - left, bottom - top];
  }

  /** Closed polygons along the edges of the pixels, inside on the right:
   *  filled, they cover exactly the mask at any zoom. */
  get polygons() {
    const edges = this._edges(), polygons = [];
    for (const [start, ends] of edges) {
      while (ends.length) {
        const polygon = [];
        let at = start;
        do {
          polygon.push(at);
          at = edges.get(at).pop();
        } while (at !== start);
        polygons.push(polygon.map((key) => this._point(key)));
      }
    }
    return polygons;
  }

  get outline() {
    if (!this._outline) {
      this._outline = new Path2D();
      for (const polygon of this.polygons) {
        polygon.forEach(([x, y], k) => {
          if (k) this._outline.lineTo(x, y);
          else this._outline.moveTo(x, y);
        });
        this._outline.closePath();
      }
    }
    return this._outline;
  }

  _point(key) {
    const x = Math.floor(key / (this.height + 1));
    return [x, key - x * (this.height + 1)];
  }

  /** From each corner of a pixel on the border, the corners that follow. */
  _edges() {
    const edges = new Map(), key = (x, y) => x * (this.height + 1) + y;
    const add = (x, y, toX, toY) => {
      const start = key(x, y);
      if (!edges.has(start)) edges.set(start, []);
      edges.get(start).push(key(toX, toY));
    };
    for (const [x, column] of this.columns) {
      const left = this.columns.get(x - 1) || [];
      const right = this.columns.get(x + 1) || [];
      for (const [top, bottom] of column) {
        add(x, top, x + 1, top);
        add(x + 1, bottom, x, bottom);
      }
      for (const [a, b] of minus(column, left)) add(x, b, x, a);
      for (const [a, b] of minus(column, right)) add(x + 1, a, x + 1, b);
    }
    return edges;
  }
};

/** What of rising intervals lies outside of other rising ones. */
function minus(intervals, others) {
  const rest = [];
  for (let [start, stop] of intervals) {
    for (const [top, bottom] of others) {
      if (bottom <= start || top >= stop) continue;
      if (top > start) rest.push([start, top]);
      start = bottom;
    }
    if (start < stop) rest.push([start, stop]);
  }
  return rest;
}

/** The masks of a photo, who is part of whom, and which are shown. */
Sohes.Forest = class {
  constructor(record) {
    this.record = record;
    this.masks = record.counts.map(
      (text) => new Sohes.Mask(text, record.width, record.height));
    this.areas = this.masks.map((mask) => mask.area);
    this.depths = record.parents.map((_, k) => {
      let depth = -1;
      for (let at = k; at >= 0; at = record.parents[at]) depth++;
      return depth;
    });
    /** Painting order: small over large. */
    this.order = this.areas.map((_, k) => k)
      .sort((a, b) => this.areas[b] - this.areas[a] || a - b);
    this.shown = this.areas.map(() => true);
  }

  get maxDepth() {
    return Math.max(0, ...this.depths);
  }

  /** Hide what is deeper, or smaller in pixels. */
  limit(maxDepth, minArea) {
    this.shown = this.areas.map(
      (area, k) => this.depths[k] <= maxDepth && area >= minArea);
  }

  get shownOrder() {
    return this.order.filter((k) => this.shown[k]);
  }

  /** The nearest ancestor that is shown, or -1. */
  parent(k) {
    let at = this.record.parents[k];
    while (at >= 0 && !this.shown[at]) at = this.record.parents[at];
    return at;
  }

  /** The masks shown that hang from k, or the whole ones for -1; the
   *  largest first. */
  children(k) {
    return this.shownOrder.filter((child) => this.parent(child) === k);
  }

  /** From the whole entity down to k. */
  path(k) {
    const path = [];
    for (let at = k; at >= 0; at = this.parent(at)) path.unshift(at);
    return path;
  }

  /** The smallest mask shown over a pixel, or -1. */
  at(x, y) {
    return this.shownOrder.reverse()
      .find((k) => this.masks[k].has(x, y)) ?? -1;
  }

  /** What is shown, as a COCO json. */
  coco() {
    const {record} = this;
    const annotations = this.shown.flatMap((shown, k) => !shown ? [] : [{
      id: record.ids[k],
      image_id: record.id,
      category_id: 1,
      iscrowd: 0,
      area: this.areas[k],
      bbox: this.masks[k].box,
      score: record.scores[k],
      parent_id: this.parent(k) < 0 ? null : record.ids[this.parent(k)],
      ...(record.levels && {level: record.levels[k]}),
      segmentation: {
        size: [record.height, record.width], counts: record.counts[k],
      },
    }]);
    return {
      images: [{
        id: record.id, file_name: record.name,
        width: record.width, height: record.height,
      }],
      annotations,
      categories: [{id: 1, name: 'entity'}],
    };
  }
};
