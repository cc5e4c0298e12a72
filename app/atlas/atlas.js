/**
 * The atlas: all heads of a network on one wall, driven by one pointer.
 *
 * It comes in parts (see payload.py): the first has the picture and what heads there are, each other
 * one some heads' numbers, queries and keys. A movement over the picture, or over any cell, is
 * answered here for every head that is in view; the host hears of choices only.
 */

import { parse, parseConfig, tensorsOf } from "../viewer/buffer.js";
import { formatValue, paletteWords, percentile, rangeOf } from "../viewer/color.js";
import { depthCurve } from "./depth.js";
import { element, setText } from "../viewer/elements.js";
import { centerOf, positionAt } from "../viewer/geometry.js";
import { Head } from "./heads.js";
import { endsOf, groupsOf } from "./order.js";
import { buildBar } from "./toolbar.js";
import { completed } from "./view.js";

const TELL_AFTER = 250; // milliseconds in which nothing else is chosen
const FEW = 4; // heads that have room to be large
const SHARED_QUANTILE = 0.9; // of the heads' own tops: a few that reach far must not make the rest dark

export class Atlas {
  constructor(host, hears) {
    this.hears = hears; // { view(view), open(title), compare(titles) }; open and compare may be missing
    this.root = element("div", { class: "lens atlas" });
    this.parts = new Set();
    this.seen = new IntersectionObserver((entries) => this.sees(entries), { rootMargin: "200px" });
    host.append(this.root);
  }

  /** Take a part; the first of a new network or picture begins a new wall. */
  show(bytes) {
    const config = parseConfig(bytes);
    if (config.part === 0 && config.id !== this.config?.id) this.begin(config, parse(bytes).tensors);
    else if (config.part === 0) this.expect(config.parts);
    else if (config.id === this.config?.id && !this.parts.has(config.part)) this.take(config, parse(bytes).tensors);
  }

  begin(config, tensors) {
    this.config = config;
    this.parts = new Set([0]);
    this.about = Object.fromEntries(config.statistics.map((one) => [one.name, one]));
    this.heads = config.heads.map((about, index) => new Head(index, about));
    this.view = completed(config.view, config.statistics);
    const names = shortened([...new Set(config.heads.map(({ block }) => block))]);
    for (const head of this.heads) head.place = names.get(head.block);
    this.ranges = null;
    this.root.classList.toggle("named", this.heads.some(({ place, layer }) => place !== String(layer)));
    const inLayer = config.heads.reduce((counts, { layer }) => counts.set(layer, (counts.get(layer) ?? 0) + 1), new Map());
    this.root.style.setProperty("--heads", String(Math.max(...inLayer.values())));
    this.root.classList.toggle("few", config.heads.length <= FEW);
    this.point = this.view.query ? { x: this.view.query[0], y: this.view.query[1] } : this.middle();
    const palette = (names, table) => Object.fromEntries(names.map((name, index) => [name, paletteWords(table, index)]));
    this.palettes = {
      ...palette(config.palettes, tensors.palettes),
      ...palette(config.diverging_palettes, tensors.diverging_palettes),
    };
    URL.revokeObjectURL(this.photo);
    this.photo = URL.createObjectURL(new Blob([tensors.image], { type: config.image.type }));
    this.build();
  }

  /** Wait for another number of parts than before: of a large network not all come unasked. */
  expect(parts) {
    if (parts === this.config.parts) return;
    this.config.parts = parts;
    this.arranged();
  }

  take(config, tensors) {
    this.parts.add(config.part);
    for (const [index, about] of Object.entries(config.numbers)) {
      this.heads[Number(index)].take(tensorsOf(tensors, index), about);
    }
    if (this.whole) this.ranges = null;
    this.arranged();
  }

  /** Whether all parts have come. */
  get whole() {
    return this.parts.size === this.config.parts;
  }

  middle() {
    const grid = this.heads[0].spec.query_grid;
    return centerOf(Math.floor(grid.height / 2) * grid.width + Math.floor(grid.width / 2), grid);
  }

  // -------------------------------------------------------------- building

  build() {
    const { image, title } = this.config;
    this.mark = element("span", { class: "at", "aria-hidden": "true" });
    this.picture = element(
      "div",
      {
        class: "picture",
        tabindex: "0",
        role: "application",
        "aria-roledescription": "picture that drives every head",
        "aria-label": `${image.alt}. Arrow keys move the query of all heads, Enter keeps it.`,
        style: `aspect-ratio: ${image.width} / ${image.height}`,
        onpointermove: (event) => this.look(pointIn(event, this.picture, image)),
        onpointerdown: (event) => this.keep(pointIn(event, this.picture, image)),
        onpointerleave: () => this.look(this.keptPoint),
        onkeydown: (event) => this.onPictureKey(event),
      },
      element("img", { src: this.photo, alt: "", draggable: "false" }),
      this.mark,
    );
    this.depth = element("figure", { class: "depths" });
    this.wall = element("div", {
      class: "wall",
      role: "grid",
      "aria-label": `Heads of ${title}`,
      "aria-multiselectable": "true",
      onkeydown: (event) => this.onWallKey(event),
      onclick: (event) => this.onClick(event),
      onpointermove: (event) => this.overCell(event),
      onpointerleave: () => this.look(this.keptPoint),
    });
    this.legend = element("div", { class: "scale-of-all" });
    this.status = element("div", { class: "announcement", role: "status" });
    this.bar = buildBar(this);
    this.cells = new Map();
    this.root.replaceChildren(
      this.bar.node,
      ...(this.config.means ? [element("p", { class: "said-of-means" }, this.config.means.said)] : []),
      element("div", { class: "sides" }, element("div", { class: "aside" }, this.picture, this.legend, this.depth), this.wall),
      this.status,
    );
    this.keptPoint = this.point;
    this.arranged();
  }

  /** Put the cells where the view wants them, and write their numbers. */
  arranged() {
    const { view, about, heads } = this;
    this.root.dataset.size = view.size;
    this.ends = endsOf(heads, view.statistic, about[view.statistic]);
    const waiting = view.order !== "layer" && !this.whole; // nothing moves until all numbers are there
    const groups = groupsOf(heads, waiting ? { ...view, order: "layer" } : view);
    this.shown = groups.flatMap((group) => group.heads);
    if (!this.shown.includes(this.current)) this.current = this.shown[0];
    this.wall.replaceChildren(...groups.map((group) => this.groupNode(group)));
    if (!groups.length) this.wall.replaceChildren(element("p", { class: "none" }, "No head passes the filter."));
    for (const head of this.shown) this.write(head);
    const known = about[view.statistic];
    const unit = known.unit ? ` (${known.unit})` : "";
    const { means } = this.config;
    this.depth.hidden = new Set(heads.map(({ layer }) => layer)).size < 2;
    this.depth.replaceChildren(
      depthCurve(this.shown.length ? heads : [], view.statistic, known, unit, means?.depth[view.statistic]),
      element("figcaption", {}, `${known.label}${unit} through the layers: dots are heads, the line their mean, the band its 95 % interval${means ? ` over ${means.counted}` : ""}.`),
    );
    this.bar.update();
    this.look(this.point);
  }

  groupNode({ layer, block, heads }) {
    const cells = heads.map((head) => this.cellOf(head));
    const row = element("div", { class: "row", role: "row", "aria-label": layer === null ? "All heads" : `Layer ${layer}, ${block}` }, ...cells);
    if (layer === null) return row;
    return element(
      "div",
      { class: "group", role: "rowgroup" },
      element("div", { class: "layer", "aria-hidden": "true", title: block }, element("b", {}, String(layer)), element("span", {}, heads[0].place === String(layer) ? "" : heads[0].place)),
      row,
    );
  }

  cellOf(head) {
    if (!this.cells.has(head)) {
      const canvas = element("canvas", { class: "map", "aria-hidden": "true" });
      head.drawOn(canvas);
      const { width, height } = this.config.image;
      head.name = element("span", { class: "name" });
      head.number = element("span", { class: "numeral" });
      head.fill = element("i", {});
      head.same = element("span", { class: "same" });
      head.node = element(
        "div",
        { class: "cell", role: "gridcell", tabindex: "-1", "data-index": head.index },
        element("span", { class: "stage", style: `aspect-ratio: ${width} / ${height}` }, canvas, head.same),
        element("span", { class: "line" }, head.name, head.number),
        element("span", { class: "measure", "aria-hidden": "true" }, head.fill),
      );
      place(canvas, head.spec.key_grid, this.config.image);
      head.node.head = head;
      this.cells.set(head, head.node);
      this.seen.observe(head.node);
    }
    return head.node;
  }

  /** Write a head's name, number and mark. */
  write(head) {
    const { view, about, ends } = this;
    const value = head.statistics[view.statistic];
    const known = Number.isFinite(value);
    const text = value === undefined ? "…" : known ? formatValue(value) : "–";
    const share = known ? Math.min(Math.max((value - ends[0]) / (ends[1] - ends[0] || 1), 0), 1) : 0;
    const { label, unit } = about[view.statistic];
    setText(head.name, head.head === null ? `${head.layer}` : `${head.layer}.${head.head}`);
    setText(head.number, text);
    head.fill.style.width = `${100 * share}%`;
    head.fill.style.background = known ? cssColor(this.palettes.viridis[Math.round(255 * share)]) : "none";
    head.same.hidden = head.twin === null;
    if (head.twin) setText(head.same, `≈ ${shortOf(this.heads[head.twin.head])}`);
    const picked = view.picked.includes(head.title);
    head.node.setAttribute("aria-selected", String(picked));
    head.node.tabIndex = head === this.current ? 0 : -1;
    const twin = head.twin ? ` Redundant: its mean row is nearly that of ${this.heads[head.twin.head].title} (Jensen-Shannon divergence ${formatValue(head.twin.bits)} bits).` : "";
    const over = known && this.config.means ? `, the mean over ${this.config.means.counted}` : "";
    const words = `${head.title}: ${label} ${known ? `${text} ${unit}`.trim() : value === undefined ? "not measured yet" : "undefined"}${over}.${twin}`;
    head.node.setAttribute("aria-label", words);
    head.node.title = `${words}${this.hears.open ? " Click opens it in Explore; Space or Shift-click picks it." : ""}`;
  }

  // -------------------------------------------------------------- looking

  /** Let every head that is in view answer for one image point. */
  look(point) {
    if (!point) return;
    this.point = point;
    const { image } = this.config;
    this.mark.style.left = `${(100 * point.x) / image.width}%`;
    this.mark.style.top = `${(100 * point.y) / image.height}%`;
    for (const head of this.shown) if (head.visible) this.paint(head);
  }

  paint(head) {
    if (!head.attention) return;
    const { view, palettes } = this;
    const values = head.values(view.map, this.point);
    const palette = head.spec.signed ? palettes.RdBu_r : palettes.viridis;
    const range = values && view.scale === "head" ? rangeOf(values, "per-map", head.spec) : this.rangeFor(head);
    head.paint(values, range, palette);
  }

  /** Return the color range that all heads of one kind share. */
  rangeFor(head) {
    const kind = head.spec.signed ? "signed" : "shares";
    this.ranges ??= {};
    const key = `${kind} ${this.view.scale}`;
    if (!this.ranges[key]) {
      const same = this.heads.filter((one) => one.spec.signed === head.spec.signed && one.attention);
      const tops = same.map((one) => one.scale_top).sort((a, b) => a - b);
      const peak = Math.max(...same.map((one) => one.peak));
      const ends = { scale_top: percentile(tops, SHARED_QUANTILE), peak, signed: head.spec.signed };
      this.ranges[key] = rangeOf([], this.view.scale === "log" ? "log" : "shared", ends);
      this.bar.showScale(this.ranges[key], head.spec.signed);
    }
    return this.ranges[key];
  }

  sees(entries) {
    for (const { target, isIntersecting } of entries) {
      target.head.visible = isIntersecting;
      if (isIntersecting) this.paint(target.head);
    }
  }

  /** Keep a point as the query. */
  keep(point) {
    if (!point) return;
    this.keptPoint = point;
    this.change({ query: [Math.round(point.x * 10) / 10, Math.round(point.y * 10) / 10] }, false);
    this.look(point);
    setText(this.status, `Query at x ${Math.round(point.x)}, y ${Math.round(point.y)}`);
  }

  overCell(event) {
    const cell = event.target.closest?.(".stage");
    if (cell) this.look(pointIn(event, cell, this.config.image));
  }

  onPictureKey(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const grid = (this.current ?? this.heads[0]).spec.query_grid;
    if (event.key in steps) {
      const [across, down] = steps[event.key];
      const moved = { x: this.point.x + across * grid.cell_width, y: this.point.y + down * grid.cell_height };
      const at = positionAt(moved, grid);
      if (at !== null) this.keep(centerOf(at, grid));
    } else if (event.key === "Enter") {
      this.keep(this.point);
    } else return;
    event.preventDefault();
  }

  // -------------------------------------------------------------- choosing

  /** Make a choice; the host hears of it once no other one follows. */
  change(choices, arrange = true) {
    Object.assign(this.view, choices);
    if (arrange) this.arranged();
    clearTimeout(this.telling);
    this.telling = setTimeout(() => this.hears.view?.({ ...this.view }), TELL_AFTER);
  }

  pick(head) {
    const { picked } = this.view;
    this.change({ picked: picked.includes(head.title) ? picked.filter((title) => title !== head.title) : [...picked, head.title].slice(-4) }, false);
    for (const one of this.heads) if (one.node) this.write(one);
    this.bar.update();
    setText(this.status, `${this.view.picked.length} heads picked`);
  }

  onClick(event) {
    const head = event.target.closest?.(".cell")?.head;
    if (!head) return;
    this.focus(head);
    if (event.shiftKey || event.ctrlKey || event.metaKey || !this.hears.open) this.pick(head);
    else this.hears.open(head.title);
  }

  focus(head) {
    const before = this.current;
    this.current = head;
    if (before?.node) before.node.tabIndex = -1;
    head.node.tabIndex = 0;
    head.node.focus({ preventScroll: false });
  }

  onWallKey(event) {
    const at = this.shown.indexOf(this.current);
    const row = Math.max(1, this.columns());
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -row, ArrowDown: row, Home: -at, End: this.shown.length - 1 - at };
    if (event.key in steps) {
      const to = Math.min(Math.max(at + steps[event.key], 0), this.shown.length - 1);
      if (this.shown[to]) this.focus(this.shown[to]);
    } else if (event.key === " ") {
      if (this.current) this.pick(this.current);
    } else if (event.key === "Enter" && this.current) {
      if (this.hears.open) this.hears.open(this.current.title);
      else this.pick(this.current);
    } else return;
    event.preventDefault();
  }

  /** Return how many cells stand side by side where the current one is. */
  columns() {
    const cells = [...(this.current?.node?.parentElement?.children ?? [])];
    const top = cells[0]?.offsetTop;
    return cells.filter((cell) => cell.offsetTop === top).length;
  }

  destroy() {
    clearTimeout(this.telling);
    this.seen.disconnect();
    URL.revokeObjectURL(this.photo);
    this.root.remove();
  }
}

/** Return the image point under a pointer, inside an element that shows the whole picture. */
function pointIn(event, node, { width, height }) {
  const box = node.getBoundingClientRect();
  const inside = (share) => Math.min(Math.max(share, 0), 0.999999);
  return { x: inside((event.clientX - box.left) / box.width) * width, y: inside((event.clientY - box.top) / box.height) * height };
}

/** Lay a canvas over the part of the picture that a grid covers. */
function place(canvas, grid, { width, height }) {
  const [down, across] = grid.offset ?? [0, 0];
  canvas.style.left = `${(100 * across) / width}%`;
  canvas.style.top = `${(100 * down) / height}%`;
  canvas.style.width = `${(100 * grid.width * grid.cell_width) / width}%`;
  canvas.style.height = `${(100 * grid.height * grid.cell_height) / height}%`;
}

/** Return names by what they do not share with all others, at both ends. */
function shortened(names) {
  if (names.length < 2) return new Map(names.map((name) => [name, name]));
  const shared = (texts) => {
    let length = 0;
    while (texts.every((text) => length < text.length && text[length] === texts[0][length])) length++;
    return length;
  };
  const from = shared(names);
  const rest = names.map((name) => name.slice(from));
  const to = shared(rest.map((text) => [...text].reverse().join("")));
  return new Map(names.map((name, index) => [name, rest[index].slice(0, rest[index].length - to)]));
}

function cssColor(word) {
  return `rgb(${word & 255} ${(word >> 8) & 255} ${(word >> 16) & 255})`;
}

function shortOf({ layer, head }) {
  return head === null ? `${layer}` : `${layer}.${head}`;
}
