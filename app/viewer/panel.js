/** One panel: the photo, or a map over it with its color bar, unit and value under the cursor. */

import { colorize, formatValue, levelOf } from "./color.js";
import { drawShapes, element, setText } from "./elements.js";
import { boundsOf } from "./geometry.js";

const BADGES = {
  shared: "",
  "per-map": "rescaled to this map alone, up to its 99th percentile",
  log: "log scale",
  fixed: "fixed scale",
};

/** How numbers are written: multiples of uniform, or logits. */
export const UNITS = {
  uniform: { name: "multiples of uniform", suffix: "×", spoken: "times uniform" },
  logit: { name: "logits, of any sign", suffix: "", spoken: "as a logit" },
  difference: { name: "difference, multiples of uniform", suffix: "×", spoken: "times uniform" },
  bits: { name: "bits, from where all look on average", suffix: " bits", spoken: "bits" },
  "logit-difference": { name: "difference of logits", suffix: "", spoken: "as a logit" },
};

const cells = (count) => `${count} ${count === 1 ? "cell" : "cells"}`;

/** Paint the 256 colors of a palette on a bar; what lets the photo through is opaque there. */
export function paintBar(bar, words) {
  const context = bar.getContext("2d");
  const pixels = context.createImageData(256, 1);
  new Uint32Array(pixels.data.buffer).set(words.map((word) => word | 0xff000000));
  context.putImageData(pixels, 0, 0);
}

/** Put the numbers of a range at their places below a bar. */
export function placeTicks(node, range, { suffix }, signed, room = 0.08) {
  const middle = signed ? 0 : suffix === "×" ? 1 : null;
  const ticks = range.log ? [0.01, 0.1, 1, 10, 100, 1000] : [range.low, ...(middle === null ? [] : [middle]), range.high];
  const places = ticks
    .map((value) => [value, levelOf(value, range)])
    .filter(([, level]) => level >= 0 && level <= 1)
    .filter(([value, level]) => value !== middle || range.log || (level > room && level < 1 - room));
  const key = places.map(([value, level]) => `${formatValue(value)}@${level.toFixed(3)}`).join() + suffix;
  if (node.dataset.key === key) return;
  node.dataset.key = key;
  node.replaceChildren(
    ...places.map(([value, level]) =>
      element(
        "span",
        { style: `left: ${100 * level}%; transform: translateX(${-100 * level}%)` },
        formatValue(value) + (suffix === "×" && !signed && value === 1 ? " uniform" : suffix),
      ),
    ),
  );
}

/**
 * Return what was done to the colors, and what they cut off.
 *
 * @param {{ clipped?: number, floored?: number, range?: ColorRange, unit: Unit, signed: boolean }} painted
 * @param {string} mode
 */
export function countsInWords({ clipped, floored, range, unit: { suffix }, signed }, mode) {
  // what was done to the colors comes first, what it cut off second
  const words = [BADGES[signed && mode === "log" ? "shared" : mode]];
  if (clipped) words.push(`${cells(clipped)} ${signed ? "beyond ±" : "above "}${formatValue(range.high)}${suffix}`);
  if (floored) words.push(`${cells(floored)} below ${formatValue(range.low)}${suffix}`);
  return words.filter(Boolean).join(", ");
}

export class Panel {
  /**
   * @param {object} options
   * @param {string} options.name what it shows: "photo", a term, or "difference"
   * @param {string} options.title
   * @param {string} options.subtitle
   * @param {number} [options.number]
   * @param {string} [options.color]
   * @param {string} options.photo
   * @param {string} options.alt
   * @param {number} options.row
   * @param {number | string} [options.record]
   * @param {Unit} [options.unit]
   * @param {boolean} [options.signed]
   * @param {Record<string, (event: any, stage: Element) => any>} options.handlers listeners of its stage
   */
  constructor({ name, title, subtitle, number, color, photo, alt, row, record, unit, signed, handlers }) {
    this.name = name;
    this.row = row;
    this.record = record;
    /** @type {Unit} */
    this.unit = unit;
    this.signed = signed;
    this.isMap = false;
    /** @type {ArrayLike<number> | null} */
    this.values = null;
    /** @type {Uint8Array | null} */
    this.absent = null; // 1 where a cell of the grid has no key
    /** @type {Float32Array | null} */
    this.difference = null; // of a difference, which `term` of two records it is of
    /** @type {(number | null)[] | null} */
    this.places = null; // and its cells in the other record's grid
    this.term = name;
    /** @type {Element | null} */
    this.prediction = null;
    // of tokens that lie nowhere, see tokens.js
    /** @type {string[] | null} */
    this.names = null;
    /** @type {Map<string, { value: number, share: number, words: string }> | null} */
    this.parts = null;
    /** @type {Map<string, Record<string, HTMLElement>> | null} */
    this.chips = null;
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
    if (name !== "photo") this.value.title = "The value under the cursor, at the same place in every map; at the pin while nothing is pointed at";
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

  /** Lay a map of a grid over the photo, if there is one, and its scale below. */
  addMap(grid, image, label) {
    this.isMap = true;
    this.grid = grid;
    if (grid) this.addCanvas(grid, image, label);
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

  addCanvas(grid, image, label) {
    const { width, height } = grid;
    const bounds = boundsOf(grid);
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
  }

  setPalette(words) {
    this.palette = words;
    paintBar(this.bar, words);
  }

  /** Paint values, or leave the photo plain where there are none: where the query is lost, or no key lies. */
  paint(values, range, mode, absent = null) {
    this.values = values;
    this.absent = absent;
    this.range = range;
    this.node.classList.toggle("plain", !values);
    this.clipped = values ? colorize(values, range, this.palette, this.words, absent) : 0;
    this.floored = values && range.log ? values.reduce((count, value) => count + (value < range.low), 0) : 0;
    if (values) this.context.putImageData(this.pixels, 0, 0);
    placeTicks(this.ticks, range, this.unit, this.signed);
    this.node.classList.toggle("clipping", this.clipped > 0);
    setText(this.badge, countsInWords(this, mode));
  }

  /** Write the value at a cell, or that of a token. */
  readValue(position, token = null) {
    let value = position === null || !this.values ? NaN : this.values[position];
    if (token !== null) value = this.parts?.get(token)?.value ?? NaN;
    const nothing = token === null && this.absent?.[position] ? "no key" : "–";
    setText(this.value, Number.isNaN(value) ? nothing : formatValue(value) + this.unit.suffix);
    this.value.dataset.exact = value;
  }

  draw(shapes) {
    this.shapes = shapes;
    drawShapes(this.overlay, shapes);
  }
}
