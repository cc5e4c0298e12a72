/** One panel: the photo, or a map over it with its color bar, unit and value under the cursor. */

import { colorize, formatValue, levelOf } from "./color.js";
import { drawShapes, element, setText } from "./elements.js";
import { boundsOf } from "./geometry.js";

const BADGES = {
  shared: "",
  "per-map": "rescaled to this map alone",
  log: "log scale",
  fixed: "fixed scale",
};

/** How numbers are written: multiples of uniform, or logits. */
export const UNITS = {
  uniform: { name: "multiples of uniform", suffix: "×", spoken: "times uniform" },
  logit: { name: "logits, of any sign", suffix: "", spoken: "as a logit" },
  difference: { name: "difference, multiples of uniform", suffix: "×", spoken: "times uniform" },
  "logit-difference": { name: "difference of logits", suffix: "", spoken: "as a logit" },
};

const cells = (count) => `${count} ${count === 1 ? "cell" : "cells"}`;

export class Panel {
  /**
   * @param name what it shows: "photo", a term, or "difference"
   * @param handlers listeners of its stage, called with the event and the stage
   */
  constructor({ name, title, subtitle, number, color, photo, alt, row, record, unit, signed, handlers }) {
    Object.assign(this, { name, row, record, unit, signed });
    this.image = element("img", { src: photo, alt, draggable: "false" });
    this.layers = element("div", { class: "layers" }, this.image);
    this.overlay = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.overlay.setAttribute("class", "marks");
    this.overlay.setAttribute("aria-hidden", "true");
    this.stage = element("div", { class: "stage" }, this.layers, this.overlay);
    for (const [type, listener] of Object.entries(handlers)) {
      this.stage.addEventListener(type, (event) => listener(event, this.stage));
    }
    this.value = element("output", { class: "value", "data-value": name });
    this.caption = element("figcaption", {});
    if (number) {
      this.caption.append(element("b", { class: "number", style: `--pin: ${color}` }, String(number)));
    }
    this.caption.append(
      element("span", { class: "title" }, title),
      element("span", { class: "subtitle" }, subtitle),
      this.value,
    );
    this.node = element(
      "figure",
      { class: `panel ${name}${number ? " numbered" : ""}`, "data-panel": name, "data-row": row, "data-record": record ?? null },
      this.caption,
      this.stage,
    );
  }

  /** Lay a map of a grid over the photo, and its scale below. */
  addMap(grid, image, label) {
    const { width, height } = grid;
    const bounds = boundsOf(grid);
    this.grid = grid;
    this.canvas = element("canvas", {
      class: "map",
      width,
      height,
      role: "img",
      "aria-label": label,
      style:
        `left: ${(100 * bounds.left) / image.width}%; top: ${(100 * bounds.top) / image.height}%;` +
        `width: ${(100 * bounds.width) / image.width}%; height: ${(100 * bounds.height) / image.height}%`,
    });
    this.layers.append(this.canvas);
    this.context = this.canvas.getContext("2d");
    this.pixels = this.context.createImageData(width, height);
    this.words = new Uint32Array(this.pixels.data.buffer);

    this.bar = element("canvas", { class: "bar", width: 256, height: 1, "aria-hidden": "true" });
    this.ticks = element("div", { class: "ticks" });
    const ends = [element("span", { class: "above" })];
    if (this.signed) ends.push(element("span", { class: "below" }));
    this.badge = element("span", { class: "badge" });
    this.node.append(
      element(
        "div",
        { class: "scale" },
        element("div", { class: "bar-box" }, this.bar, ...ends),
        this.ticks,
        element("div", { class: "unit" }, element("span", {}, this.unit.name), this.badge),
      ),
    );
    return this;
  }

  setPalette(words) {
    this.palette = words;
    const context = this.bar.getContext("2d");
    const pixels = context.createImageData(256, 1);
    new Uint32Array(pixels.data.buffer).set(words);
    context.putImageData(pixels, 0, 0);
  }

  paint(values, range, mode) {
    this.values = values;
    this.range = range;
    const clipped = colorize(values, range, this.palette, this.words);
    const floored = range.log ? values.reduce((count, value) => count + (value < range.low), 0) : 0;
    this.context.putImageData(this.pixels, 0, 0);
    this.label(clipped, floored, mode);
  }

  label(clipped, floored, mode) {
    const { range, unit: { suffix } } = this;
    const middle = suffix && !this.signed ? 1 : 0;
    const ticks = range.log ? [0.01, 0.1, 1, 10, 100, 1000] : [range.low, middle, range.high];
    const places = ticks
      .map((value) => [value, levelOf(value, range)])
      .filter(([, level]) => level >= 0 && level <= 1)
      .filter(([value, level]) => value !== middle || range.log || (level > 0.08 && level < 0.9));
    const key = places.map(([value, level]) => `${formatValue(value)}@${level.toFixed(3)}`).join();
    if (this.ticks.dataset.key !== key) {
      this.ticks.dataset.key = key;
      this.ticks.replaceChildren(
        ...places.map(([value, level]) =>
          element(
            "span",
            { style: `left: ${100 * level}%; transform: translateX(${-100 * level}%)` },
            formatValue(value) + (suffix && !this.signed && value === 1 ? " uniform" : suffix),
          ),
        ),
      );
    }
    this.node.classList.toggle("clipping", clipped > 0);
    const end = formatValue(range.high) + suffix;
    const scale = this.signed && mode === "log" ? "shared" : mode;
    // what was done to the colors comes first, what it cut off second
    const words = [BADGES[scale]];
    if (clipped) words.push(`${cells(clipped)} ${this.signed ? "beyond ±" : "above "}${end}`);
    if (floored) words.push(`${cells(floored)} below ${formatValue(range.low)}${suffix}`);
    setText(this.badge, words.filter(Boolean).join(", "));
  }

  readValue(position) {
    const value = position === null ? NaN : this.values[position];
    setText(this.value, position === null ? "–" : formatValue(value) + this.unit.suffix);
    this.value.dataset.exact = value;
  }

  draw(shapes) {
    this.shapes = shapes;
    drawShapes(this.overlay, shapes);
  }
}
