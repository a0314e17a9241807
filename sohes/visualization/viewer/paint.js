'use strict';
/* How Sohes.Viewer paints: in the photo's pixels, at the screen's sharpness.
 */
{
  /** How much of a mask's colour covers the photo. */
  const FILL = 0.55, PARENT = 0.45, SELECTED = 0.25;
  /** What lies outside of the entity and its parent is darkened so much. */
  const DIM = 0.55;

  const {prototype} = Sohes.Viewer;

  /** Draw all that is seen of the photo. */
  prototype.draw = function () {
    if (!this.forest || !this.photo.naturalWidth) return;
    const {width, height} = this.forest.record;
    const fit = Math.min(this.stage.clientWidth / width,
      this.stage.clientHeight / height);
    if (!(fit > 0)) return;
    const {canvas} = this, sharp = window.devicePixelRatio || 1;
    canvas.style.width = `${width * fit}px`;
    canvas.style.height = `${height * fit}px`;
    canvas.width = Math.round(width * fit * sharp);
    canvas.height = Math.round(height * fit * sharp);
    const pen = this._pen(canvas);
    /** One pixel of the screen, in pixels of the photo. */
    this._hair = width / (canvas.width / sharp);
    pen.imageSmoothingEnabled = fit < 4;
    pen.drawImage(this.photo, 0, 0, width, height);
    const focus = this.selected >= 0 ? this.selected : this.hovered;
    if (focus >= 0) this._drawFamily(pen, focus);
    else if (this.paint.checked) this._drawAll(pen);
    if (this.hovered >= 0 && this.hovered !== focus) {
      this._stroke(pen, this.hovered, 1.5, '#fff', [4, 3]);
    }
  };

  prototype._pen = function (canvas) {
    const pen = canvas.getContext('2d'), {width, height} = this.forest.record;
    pen.setTransform(canvas.width / width, 0, 0, canvas.height / height,
      0, 0);
    return pen;
  };

  prototype._stroke = function (pen, k, wide, style, dash = []) {
    pen.save();
    pen.lineJoin = 'round';
    pen.lineWidth = wide * this._hair;
    pen.setLineDash(dash.map((length) => length * this._hair));
    pen.strokeStyle = style;
    pen.stroke(this.forest.masks[k].outline);
    pen.restore();
  };

  prototype._fillMask = function (pen, k, alpha) {
    pen.globalAlpha = alpha;
    pen.fillStyle = this.forest.record.colors[k];
    pen.fill(this.forest.masks[k].outline, 'evenodd');
    pen.globalAlpha = 1;
  };

  /** An entity, its parent alight around it, its parts outlined. */
  prototype._drawFamily = function (pen, k) {
    const {forest} = this, {width, height, colors} = forest.record;
    const parent = forest.parent(k);
    const dark = new Path2D();
    dark.rect(0, 0, width, height);
    dark.addPath(forest.masks[parent < 0 ? k : parent].outline);
    pen.fillStyle = `rgba(0, 0, 0, ${DIM})`;
    pen.fill(dark, 'evenodd');
    if (parent >= 0) {
      pen.save();
      const around = new Path2D();
      around.rect(0, 0, width, height);
      around.addPath(forest.masks[k].outline);
      pen.clip(around, 'evenodd');
      this._fillMask(pen, parent, PARENT);
      pen.restore();
      this._stroke(pen, parent, 4, 'rgba(0, 0, 0, 0.6)');
      this._stroke(pen, parent, 2.5, colors[parent]);
    }
    if (this.paint.checked) this._fillMask(pen, k, SELECTED);
    for (const child of forest.children(k)) {
      this._stroke(pen, child, 1, 'rgba(255, 255, 255, 0.75)');
    }
    this._stroke(pen, k, 4, 'rgba(0, 0, 0, 0.6)');
    this._stroke(pen, k, 2.5, '#fff');
  };

  /** All masks shown, small over large, each with its own colour. */
  prototype._drawAll = function (pen) {
    const {canvas, forest} = this;
    const size = `${canvas.width}x${canvas.height}`;
    if (!this._painted || this._painted.size !== size) {
      const layer = document.createElement('canvas');
      layer.width = canvas.width;
      layer.height = canvas.height;
      const brush = this._pen(layer);
      // Opaque here, so that colours do not mix where masks are nested.
      for (const k of forest.shownOrder) {
        this._fillMask(brush, k, 1);
        this._stroke(brush, k, 1, '#fff');
      }
      this._painted = {layer, size};
    }
    pen.save();
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.globalAlpha = FILL;
    pen.drawImage(this._painted.layer, 0, 0);
    pen.restore();
  };
}
