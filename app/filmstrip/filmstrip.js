/**
 * The film strip: point at a place in any frame of a clip, see where in space and time a non-local
 * block looks from there.
 *
 * Like the viewer it is given one safetensors buffer (see payload.py) and answers every movement of
 * the mouse itself. The host hears of pinned queries only. A network that looks at whole clips has
 * one record, whose rows spread over all frames; one that looks at images has a record per frame.
 */

import { Attention, TERMS } from "../viewer/attention.js";
import { parse, parseConfig, tensorsOf } from "../viewer/buffer.js";
import { colorize, formatValue, levelOf, paletteWords, rangeOf } from "../viewer/color.js";
import { boundsOf, cellOf, centerOf, positionAt } from "../viewer/geometry.js";

// ---------------------------------------------------------------- time

/** Return the key frame that is shown with a query frame: the same, or one that holds several. */
export function keyFrameOf(frame, frames, keyFrames) {
  return Math.min(keyFrames - 1, Math.floor((frame * keyFrames) / frames));
}

/** Return the share of a row's weight in each frame: its temporal-mass profile, which sums to 1. */
export function frameShares(values, frames) {
  const cells = values.length / frames;
  const masses = new Float64Array(frames);
  let total = 0;
  for (let j = 0; j < values.length; j++) masses[Math.floor(j / cells)] += values[j];
  for (const mass of masses) total += mass;
  return masses.map((mass) => mass / total);
}

/** Return the positions of the greatest values, the greatest first. */
export function greatest(values, count) {
  const order = Array.from(values.keys()).sort((one, other) => values[other] - values[one]);
  return order.slice(0, count);
}

/**
 * Return where a point of a frame is in every frame, null where it is lost.
 *
 * A point moves as the middle of its cell does: `forward` and `backward` hold x and y of that, step
 * by step (analysis/tracking.py).
 */
export function follow({ x, y }, frame, frames, { forward, backward }, grid, { width, height }) {
  const path = new Array(frames).fill(null);
  path[frame] = { x, y };
  const cells = grid.width * grid.height;
  const moved = (point, flow, step) => {
    const cell = point && positionAt(point, grid);
    if (cell == null) return null;
    const at = (step * cells + cell) * 2;
    const next = { x: point.x + flow[at], y: point.y + flow[at + 1] };
    return next.x >= 0 && next.x < width && next.y >= 0 && next.y < height ? next : null;
  };
  for (let t = frame; t < frames - 1; t++) path[t + 1] = moved(path[t], forward, t);
  for (let t = frame; t > 0; t--) path[t - 1] = moved(path[t], backward, t - 1);
  return path;
}

// ---------------------------------------------------------------- page

const NAMES = { whole: "Whole attention", pairwise: "Pairwise term", unary: "Unary term", photo: "Photo" };
const ARROWS = 20; // as many as Figure 3 of Wang et al. 2018 shows
const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
const SVG = "http://www.w3.org/2000/svg";

/** Choices outlive the clip they were made on. */
const choices = {
  term: "whole",
  palette: "viridis",
  signedPalette: "RdBu_r",
  scale: "shared",
  opacity: 0.75,
  arrows: true,
  follow: false,
};

function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") made.className = value;
    else if (name === "style") made.style.cssText = value; // as an attribute, strict policies bar it
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function drawn(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function say(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

class Filmstrip {
  constructor(host, onPick) {
    this.onPick = onPick;
    this.root = node("div", { class: "film" });
    host.append(this.root);
    this.watcher = new ResizeObserver(() => this.maps && this.update());
    this.watcher.observe(this.root);
  }

  /** Show a payload; the query stays where it still makes sense. */
  show(bytes) {
    const config = parseConfig(bytes);
    if (config.id === this.config?.id) return;
    const before = this.config;
    const { tensors } = parse(bytes);
    this.pause();
    this.config = config;
    this.tensors = tensors;
    this.records = config.records.map(
      (spec, index) => new Attention(spec, tensorsOf(tensors, index)),
    );
    const spec = config.records[0];
    this.frames = config.frames.length;
    this.grid = spec.query_grid;
    this.keyGrid = spec.key_grid;
    this.keyFrames = config.spacetime ? spec.key_grid.frames : this.frames;
    this.signed = spec.signed;
    this.paletteChoice = spec.signed ? "signedPalette" : "palette";
    this.palettes = config.palettes.map((_, index) => paletteWords(tensors.palettes, index));
    this.flow = tensors["flow.forward"] && {
      forward: tensors["flow.forward"],
      backward: tensors["flow.backward"],
    };
    const same =
      before?.clip === config.clip &&
      before.frames.length === this.frames &&
      before.records[0].query_grid.width === this.grid.width;
    if (!same) {
      this.pinned = false;
      this.cursor = null;
      this.frame = Math.floor(this.frames / 2);
      const middle = Math.floor(this.grid.height / 2) * this.grid.width + Math.floor(this.grid.width / 2);
      this.query = { frame: this.frame, ...centerOf(middle, this.grid) };
    }
    if (config.query && !same) this.take(config.query);
    this.build();
    this.update();
  }

  /** Begin at a query that the payload asks for, pinned. */
  take({ frame, x, y }) {
    this.query = { frame, x, y };
    this.frame = frame;
    this.pinned = true;
  }

  /** The query as the host is told it; null while none is pinned. */
  get pick() {
    const { frame, x, y } = this.query;
    return this.pinned ? { frame, x, y, follow: Boolean(this.flow && choices.follow) } : null;
  }

  /** Pin what the host asks for, or, of null, nothing; the host, who knows, is not told. */
  pin(query) {
    clearTimeout(this.telling);
    if (query) this.take(query);
    else this.pinned = false;
    this.update();
  }

  // -------------------------------------------------------------- building

  build() {
    for (const url of this.urls ?? []) URL.revokeObjectURL(url);
    this.urls = this.config.frames.map((_, frame) =>
      URL.createObjectURL(new Blob([this.tensors[`frame.${frame}`]], { type: "image/jpeg" })),
    );
    this.stages = ["photo", ...TERMS].map((term) => this.buildStage(term));
    this.strip = this.config.frames.map((_, frame) => this.buildFrame(frame));
    this.overlay = drawn("svg", { class: "arrows", "aria-hidden": "true" });
    this.stripNode = node(
      "div",
      { class: "strip", role: "list", "aria-label": "Frames" },
      ...this.strip.map((panel) => panel.node),
      this.overlay,
    );
    this.profile = node("div", { class: "profile" });
    this.status = node("div", { class: "announcement", role: "status", "aria-live": "polite" });
    this.fields = {};
    const { width, height } = this.config.image;
    this.desk = node(
      "div",
      {
        class: "desk",
        tabindex: "0",
        role: "application",
        "aria-roledescription": "film strip",
        "aria-label":
          `Attention of ${this.config.title} over ${this.frames} frames. Space plays and pauses, comma and ` +
          "period step, arrow keys move the query, Enter pins it, Escape clears it.",
        style: `--aspect: ${width / height}`,
        onkeydown: (event) => this.onKey(event),
      },
      node("div", { class: "stages" }, ...this.stages.map((panel) => panel.node)),
      this.buildScale(),
      this.stripNode,
    );
    const focused = this.root.contains(this.root.getRootNode().activeElement);
    const { reach } = this.config.records[0];
    const note = reach
      ? [
          node(
            "p",
            { class: "none" },
            `Queries of this block look at their own ${reach} only: weights elsewhere are 0.`,
          ),
        ]
      : [];
    this.root.replaceChildren(this.buildToolbar(), this.desk, ...note, this.profile, this.buildReadout(), this.status);
    if (focused) this.desk.focus({ preventScroll: true });
    this.applyChoices();
  }

  buildPicture(frame, alt, onPoint) {
    const image = node("img", { src: this.urls[frame], alt, draggable: "false" });
    const { width, height } = this.keyGrid;
    const { width: imageWidth, height: imageHeight } = this.config.image;
    const bounds = boundsOf(this.keyGrid);
    const canvas = node("canvas", {
      class: "map",
      width,
      height,
      "aria-hidden": "true",
      style:
        `left: ${(100 * bounds.left) / imageWidth}%; top: ${(100 * bounds.top) / imageHeight}%;` +
        `width: ${(100 * bounds.width) / imageWidth}%; height: ${(100 * bounds.height) / imageHeight}%`,
    });
    const mark = node("div", { class: "mark" });
    const picture = node(
      "div",
      {
        class: "picture",
        onpointermove: (event) => this.onHover(event, picture, onPoint()),
        onpointerdown: () => this.desk.classList.add("by-pointer"),
        onclick: (event) => this.onClick(event, picture, onPoint()),
      },
      image,
      canvas,
      mark,
    );
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(width, height);
    return { picture, image, canvas, mark, context, pixels, words: new Uint32Array(pixels.data.buffer) };
  }

  buildStage(term) {
    const alt = term === "photo" ? this.config.image.alt : "";
    const parts = this.buildPicture(this.frame, alt, () => this.frame);
    const value = node("output", { "data-value": term });
    const caption = node("figcaption", {}, node("span", { class: "title" }, NAMES[term]), value);
    return { ...parts, term, value, node: node("figure", { class: `stage ${term}`, "data-stage": term }, caption, parts.picture) };
  }

  buildFrame(frame) {
    const { time } = this.config.frames[frame];
    const parts = this.buildPicture(frame, `Frame ${frame}, ${time.toFixed(2)} s`, () => frame);
    const mass = node("output", { "data-mass": frame });
    const bar = node("i", { class: "mass" });
    const caption = node("figcaption", {}, node("span", {}, `${frame} · ${time.toFixed(2)} s`), mass);
    const figure = node("figure", { class: "frame", role: "listitem", "data-frame": frame }, parts.picture, caption, bar);
    return { ...parts, frame, mass, bar, node: figure };
  }

  buildScale() {
    this.bar = node("canvas", { class: "bar", width: 256, height: 1, "aria-hidden": "true" });
    this.ticks = node("div", { class: "ticks" });
    const unit = this.signed ? "logits, of any sign" : "multiples of uniform";
    this.badge = node("span", { class: "badge" });
    const words = node("div", { class: "unit" }, node("span", {}, `${unit}, one scale for all frames`), this.badge);
    return node("div", { class: "scale" }, this.bar, this.ticks, words);
  }

  buildToolbar() {
    const button = (label, title, onclick) => node("button", { type: "button", title, "aria-label": title, onclick }, label);
    const select = (label, choice, options) => {
      const made = node(
        "select",
        { "data-choice": choice, onchange: () => this.choose(choice, made.value) },
        ...Object.entries(options).map(([value, text]) => node("option", { value }, text)),
      );
      made.value = choices[choice];
      if (made.selectedIndex < 0) made.selectedIndex = 0;
      return node("label", {}, node("span", {}, label), made);
    };
    const check = (label, choice, title) => {
      const made = node("input", { type: "checkbox", "data-choice": choice, onchange: () => this.choose(choice, made.checked) });
      made.checked = choices[choice];
      return node("label", { title }, made, node("span", {}, label));
    };
    const opacity = node("input", {
      type: "range", min: "0", max: "1", step: "0.05", value: choices.opacity,
      oninput: () => this.choose("opacity", Number(opacity.value)),
    });
    this.play = button("▶", "Play (Space)", () => this.toggle());
    const scales = { shared: "Linear", ...(this.signed ? {} : { log: "Logarithmic" }) };
    const bar = node(
      "div",
      { class: "toolbar", role: "toolbar", "aria-label": "Time and how maps are drawn" },
      node(
        "div",
        { class: "transport" },
        button("«", "First frame (Home)", () => this.step(-this.frames)),
        button("‹", "One frame back (comma)", () => this.step(-1)),
        this.play,
        button("›", "One frame on (period)", () => this.step(1)),
        button("»", "Last frame (End)", () => this.step(this.frames)),
      ),
      select("Strip", "term", { whole: "Whole", pairwise: "Pairwise", unary: "Unary", photo: "Photo" }),
      select("Colors", this.paletteChoice, Object.fromEntries(this.config.palettes.map((name) => [name, name]))),
      select("Scale", "scale", scales),
      node("label", { title: "Opacity of the maps over the frames" }, node("span", {}, "Opacity"), opacity),
    );
    if (this.config.spacetime) bar.append(check(`${ARROWS} strongest`, "arrows", "Arrows to the strongest keys of all frames"));
    if (this.flow) bar.append(check("Follow what moves", "follow", "The query moves with the picture (optical flow) instead of staying"));
    return bar;
  }

  buildReadout() {
    const field = (name, label) => {
      this.fields[name] = node("dd", { "data-field": name });
      return node("div", {}, node("dt", {}, label), this.fields[name]);
    };
    return node(
      "dl",
      { class: "readout" },
      field("query", "Query"),
      field("strongest", "Strongest key"),
      field("entropy", "Entropy of this row"),
      field("share", "Pairwise share of this row"),
      field("own", this.config.spacetime ? "Attention within its own frame" : "Frames it is seen in"),
    );
  }

  // -------------------------------------------------------------- what is shown

  choose(choice, value) {
    choices[choice] = value;
    this.applyChoices();
    this.update();
    if (choice === "follow" && this.pinned) this.tell(0);
  }

  applyChoices() {
    this.root.style.setProperty("--opacity", choices.opacity);
    const index = Math.max(0, this.config.palettes.indexOf(choices[this.paletteChoice]));
    this.words = this.palettes[index];
    const context = this.bar.getContext("2d");
    const pixels = context.createImageData(256, 1);
    new Uint32Array(pixels.data.buffer).set(this.words);
    context.putImageData(pixels, 0, 0);
    this.root.classList.toggle("log", choices.scale === "log");
  }

  /** Compute the rows of the query and paint, at most once per frame of the screen. */
  update() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = null;
      this.compute();
      this.paint();
    });
  }

  /** Return where the query is in every frame, null where it is not. */
  places() {
    const { frame, x, y } = this.query;
    if (this.config.spacetime) {
      return this.config.frames.map((_, t) => (t === frame ? { x, y } : null));
    }
    if (this.flow && choices.follow) {
      return follow({ x, y }, frame, this.frames, this.flow, this.grid, this.config.image);
    }
    return this.config.frames.map(() => ({ x, y }));
  }

  compute() {
    const cells = this.grid.width * this.grid.height;
    this.path = this.places();
    if (this.config.spacetime) {
      const [attention] = this.records;
      const maps = attention.mapsOf(this.query.frame * cells + positionAt(this.query, this.grid));
      const size = this.keyGrid.width * this.keyGrid.height;
      this.maps = this.config.frames.map((_, t) => {
        const from = keyFrameOf(t, this.frames, this.keyFrames) * size;
        return Object.fromEntries(TERMS.map((term) => [term, maps[term].subarray(from, from + size)]));
      });
      this.row = maps;
      this.numbers = [attention.statistics(maps)];
      return;
    }
    this.numbers = [];
    this.maps = this.path.map((point, t) => {
      const cell = point && positionAt(point, this.grid);
      const maps = cell == null ? null : this.records[t].mapsOf(cell);
      this.numbers.push(maps ? this.records[t].statistics(maps) : { entropy: NaN, pairwiseShare: NaN });
      return maps;
    });
  }

  paint() {
    this.range = rangeOf([], choices.scale, this.config.scale);
    let clipped = 0;
    for (const panel of this.strip) clipped += this.paintMap(panel, choices.term, panel.frame);
    for (const panel of this.stages) {
      if (panel.shown !== this.frame) panel.image.src = this.urls[(panel.shown = this.frame)];
      clipped += this.paintMap(panel, panel.term, this.frame);
    }
    this.label(clipped);
    this.drawArrows();
    this.drawProfile();
    this.read();
  }

  paintMap(panel, term, frame) {
    const values = term === "photo" ? null : this.maps[frame]?.[term];
    panel.node.classList.toggle("plain", !values);
    panel.node.classList.toggle("current", frame === this.frame);
    const point = this.path[frame];
    panel.node.classList.toggle("queried", Boolean(point));
    const at = point ?? this.query;
    panel.mark.style.left = `${(100 * at.x) / this.config.image.width}%`;
    panel.mark.style.top = `${(100 * at.y) / this.config.image.height}%`;
    if (!values) return 0;
    const clipped = colorize(values, this.range, this.words, panel.words);
    panel.context.putImageData(panel.pixels, 0, 0);
    return clipped;
  }

  label(clipped) {
    const suffix = this.signed ? "" : "×";
    const { low, high, log } = this.range;
    const places = (log ? [0.01, 0.1, 1, 10, 100, 1000] : [low, this.signed ? 0 : 1, high])
      .map((value) => [value, levelOf(value, this.range)])
      .filter(([, level]) => level >= 0 && level <= 1)
      .filter(([value], index, all) => log || index !== 1 || (all[1][1] > 0.08 && all[1][1] < 0.9));
    this.ticks.replaceChildren(
      ...places.map(([value, level]) =>
        node(
          "span",
          { style: `left: ${100 * level}%; transform: translateX(${-100 * level}%)` },
          formatValue(value) + (suffix && value === 1 ? " uniform" : suffix),
        ),
      ),
    );
    say(this.badge, clipped ? `some cells above ${formatValue(high)}${suffix}` : log ? "log scale" : "");
  }

  drawArrows() {
    this.overlay.replaceChildren();
    const term = choices.term === "photo" ? "whole" : choices.term;
    if (!this.config.spacetime || !choices.arrows || !this.row) return;
    const box = this.stripNode.getBoundingClientRect();
    this.overlay.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
    const { width, height } = this.config.image;
    const place = (frame, { x, y }) => {
      const inner = this.strip[frame].picture.getBoundingClientRect();
      return [
        inner.left - box.left + (x / width) * inner.width,
        inner.top - box.top + (y / height) * inner.height,
      ];
    };
    const from = place(this.query.frame, this.query);
    const size = this.keyGrid.width * this.keyGrid.height;
    this.arrows = greatest(this.row[term], ARROWS);
    for (const key of this.arrows) {
      const keyFrame = Math.floor(key / size);
      const frame = Math.floor(((keyFrame + 0.5) * this.frames) / this.keyFrames);
      const to = place(frame, centerOf(key % size, this.keyGrid));
      const line = { x1: from[0], y1: from[1], x2: to[0], y2: to[1] };
      this.overlay.append(
        drawn("line", { ...line, class: "halo" }),
        drawn("line", { ...line, class: "shaft" }),
        drawn("circle", { cx: to[0], cy: to[1], r: 3.5, class: "tip", "data-key": key }),
      );
    }
  }

  drawProfile() {
    const charts = this.config.spacetime ? this.massCharts() : this.rowCharts();
    this.profile.replaceChildren(...charts);
    const masses = this.shares?.whole;
    for (const panel of this.strip) {
      const share = masses?.[keyFrameOf(panel.frame, this.frames, this.keyFrames)];
      const text =
        masses ? (Number.isFinite(share) ? `${(100 * share).toFixed(1)} %` : "–")
        : this.path[panel.frame] ? "" : "lost";
      say(panel.mass, text);
      panel.mass.dataset.exact = share ?? "";
      panel.bar.style.width = masses ? `${100 * Math.max(0, Math.min(1, share))}%` : "0";
    }
  }

  massCharts() {
    if (this.signed) {
      return [node("p", { class: "none" }, "This block has no softmax: its weights have any sign, and frames have no share of them.")];
    }
    this.shares = Object.fromEntries(TERMS.map((term) => [term, frameShares(this.row[term], this.keyFrames)]));
    const top = Math.max(...TERMS.flatMap((term) => [...this.shares[term]]));
    return [
      this.chart({
        title: "Share of the query's attention in each frame",
        series: TERMS.map((term) => ({ name: NAMES[term], values: this.shares[term], class: term })),
        top,
        format: (value) => `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`,
        line: { value: 1 / this.keyFrames, name: "uniform" },
        queried: keyFrameOf(this.query.frame, this.frames, this.keyFrames),
      }),
    ];
  }

  rowCharts() {
    const keys = this.keyGrid.width * this.keyGrid.height;
    const queried = this.query.frame;
    const share = this.chart({
      title: "Pairwise share of the query's logits in each frame",
      series: [{ name: "Pairwise share", values: this.numbers.map((one) => one.pairwiseShare), class: "pairwise" }],
      top: 1,
      format: (value) => `${(100 * value).toFixed(0)} %`,
      queried,
    });
    if (this.signed) return [share];
    const entropy = this.chart({
      title: "Entropy of the query's row in each frame, in bits",
      series: [{ name: "Entropy", values: this.numbers.map((one) => one.entropy), class: "whole" }],
      top: Math.log2(keys),
      format: (value) => value.toFixed(2),
      line: { value: Math.log2(keys), name: "uniform" },
      queried,
    });
    return [entropy, share];
  }

  /** Return a line chart over frames, as a figure with words. */
  chart({ title, series, top, format, line, queried }) {
    const [height, left, bottom, above] = [150, 52, 22, 10];
    const room = this.root.clientWidth;
    const width = Math.max(280, Math.min(760, room > 720 && !this.config.spacetime ? room / 2 - 12 : room));
    const count = series[0].values.length;
    const x = (frame) => left + ((frame + 0.5) / count) * (width - left - 8);
    const y = (value) => above + (1 - value / (top || 1)) * (height - bottom - above);
    const parts = [];
    const text = (at, label, place) => drawn("text", { ...at, class: place }, label);
    for (const value of [0, top / 2, top]) {
      parts.push(drawn("line", { x1: left, x2: width - 8, y1: y(value), y2: y(value), class: "rule" }));
      parts.push(text({ x: left - 6, y: y(value) + 4 }, format(value), "end"));
    }
    const each = Math.ceil(count / 16);
    for (let frame = 0; frame < count; frame += each) {
      parts.push(text({ x: x(frame), y: height - 4 }, String(frame), "middle"));
    }
    const now = keyFrameOf(this.frame, this.frames, count);
    parts.push(drawn("line", { x1: x(now), x2: x(now), y1: above, y2: height - bottom, class: "now" }));
    if (line) parts.push(drawn("line", { x1: left, x2: width - 8, y1: y(line.value), y2: y(line.value), class: "uniform" }));
    for (const { values, class: kind } of series) {
      const points = [...values].map((value, frame) => [x(frame), y(value), value]);
      let path = "";
      points.forEach(([px, py, value], index) => {
        if (!Number.isFinite(value)) return;
        const begins = index === 0 || !Number.isFinite(points[index - 1][2]);
        path += `${begins ? "M" : "L"}${px.toFixed(1)} ${py.toFixed(1)}`;
      });
      parts.push(drawn("path", { d: path, class: `series ${kind}` }));
      for (const [index, [px, py, value]] of points.entries()) {
        if (!Number.isFinite(value)) continue;
        const radius = index === queried ? 4.5 : 2.5;
        const dot = drawn("circle", { cx: px, cy: py, r: radius, class: `dot ${kind}${index === queried ? " own" : ""}` });
        parts.push(dot);
      }
    }
    const words = series.map(({ name, values }) => `${name}: ${[...values].map((v) => (Number.isFinite(v) ? format(v) : "none")).join(", ")}`);
    const legend = node(
      "figcaption",
      {},
      node("span", { class: "title" }, title),
      ...(series.length > 1 ? series.map(({ name, class: kind }) => node("span", { class: `key ${kind}` }, name)) : []),
      ...(line ? [node("span", { class: "key uniform" }, line.name)] : []),
    );
    return node(
      "figure",
      { class: "chart" },
      legend,
      drawn("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${title}. ${words.join(". ")}` }, ...parts),
    );
  }

  read() {
    const suffix = this.signed ? "" : "×";
    const cursor = this.cursor ?? this.query;
    const cell = this.maps[cursor.frame] && positionAt(cursor, this.keyGrid);
    for (const panel of this.stages) {
      if (panel.term === "photo") {
        say(panel.value, `frame ${this.frame} of ${this.frames}${this.pinned ? " · pinned" : ""}`);
        continue;
      }
      const value = cell == null ? NaN : this.maps[cursor.frame][panel.term][cell];
      say(panel.value, Number.isFinite(value) ? formatValue(value) + suffix : "–");
      panel.value.dataset.exact = value;
    }
    const { frame } = this.query;
    const { row, col } = cellOf(positionAt(this.query, this.grid), this.grid);
    const time = this.config.frames[frame].time.toFixed(2);
    say(
      this.fields.query,
      `frame ${frame} (${time} s) · x ${Math.floor(this.query.x)}, y ${Math.floor(this.query.y)} · row ${row}, column ${col}`,
    );
    const numbers = this.numbers[this.config.spacetime ? 0 : frame];
    const most = Math.log2(this.config.spacetime ? this.row.whole.length : this.keyGrid.width * this.keyGrid.height);
    say(this.fields.entropy, Number.isFinite(numbers.entropy) ? `${numbers.entropy.toFixed(2)} of ${most.toFixed(2)} bits` : "none: no softmax");
    say(this.fields.share, Number.isFinite(numbers.pairwiseShare) ? `${(100 * numbers.pairwiseShare).toFixed(0)} %` : "–");
    const strongest = this.strongest();
    say(this.fields.strongest, `${strongest.words}: ${formatValue(strongest.value)}${suffix}`);
    if (this.config.spacetime) {
      const own = this.shares?.whole[keyFrameOf(frame, this.frames, this.keyFrames)];
      say(this.fields.own, own === undefined ? "none: no softmax" : `${(100 * own).toFixed(1)} % · uniform ${(100 / this.keyFrames).toFixed(1)} %`);
    } else {
      say(this.fields.own, `${this.path.filter(Boolean).length} of ${this.frames}`);
    }
    clearTimeout(this.announcing);
    this.announcing = setTimeout(
      () =>
        say(
          this.status,
          `Query in ${this.fields.query.textContent}. Strongest key in ${this.fields.strongest.textContent}. ` +
            `Entropy ${this.fields.entropy.textContent}. Showing frame ${this.frame}.`,
        ),
      600,
    );
  }

  strongest() {
    const size = this.keyGrid.width * this.keyGrid.height;
    const values = this.config.spacetime ? this.row.whole : this.maps[this.query.frame].whole;
    const [key] = greatest(values, 1);
    const { x, y } = centerOf(key % size, this.keyGrid);
    const frame = this.config.spacetime ? Math.floor(key / size) : this.query.frame;
    return { words: `frame ${frame} · x ${Math.floor(x)}, y ${Math.floor(y)}`, value: values[key] };
  }

  // -------------------------------------------------------------- input

  pointOf(event, picture) {
    const box = picture.getBoundingClientRect();
    const { width, height } = this.config.image;
    const inside = (value, limit) => Math.min(Math.max(value, 0), limit - 1e-3);
    return {
      x: inside(((event.clientX - box.left) / box.width) * width, width),
      y: inside(((event.clientY - box.top) / box.height) * height, height),
    };
  }

  onHover(event, picture, frame) {
    this.cursor = { ...this.pointOf(event, picture), frame };
    if (!this.pinned && positionAt(this.cursor, this.grid) !== null) this.query = { ...this.cursor };
    this.update();
  }

  onClick(event, picture, frame) {
    const point = this.pointOf(event, picture);
    if (positionAt(point, this.grid) === null) return;
    const again =
      this.pinned && frame === this.query.frame && positionAt(point, this.grid) === positionAt(this.query, this.grid);
    this.query = { ...point, frame };
    this.cursor = { ...this.query };
    this.pinned = !again;
    this.frame = frame;
    this.desk.focus({ preventScroll: true });
    this.tell(0);
    this.update();
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.key === "Tab") return;
    event.stopPropagation(); // the host binds single letters on the whole page
    this.desk.classList.remove("by-pointer");
    const { width, height } = this.grid;
    const clamp = (value, limit) => Math.min(Math.max(value, 0), limit - 1);
    if (event.key in STEPS) {
      const [down, right] = STEPS[event.key];
      const far = event.shiftKey ? 5 : 1;
      const { row, col } = cellOf(positionAt(this.query, this.grid), this.grid);
      const cell = clamp(row + down * far, height) * width + clamp(col + right * far, width);
      this.query = { frame: this.query.frame, ...centerOf(cell, this.grid) };
      this.cursor = { ...this.query };
      this.pinned = true;
      this.tell(300);
      this.update();
    } else if (event.key === " ") this.toggle();
    else if (event.key === "," || event.key === "PageUp") this.step(-1);
    else if (event.key === "." || event.key === "PageDown") this.step(1);
    else if (event.key === "Home") this.step(-this.frames);
    else if (event.key === "End") this.step(this.frames);
    else if (event.key === "Enter") {
      this.query = { ...this.query, frame: this.frame };
      this.pinned = true;
      this.tell(0);
      this.update();
    } else if (event.key === "Escape") {
      this.pinned = false;
      this.tell(0);
      this.update();
    } else return;
    event.preventDefault();
  }

  // -------------------------------------------------------------- playing

  toggle() {
    if (this.playing) this.pause();
    else {
      const { fps } = this.config;
      this.playing = setInterval(() => this.go((this.frame + 1) % this.frames), 1000 / Math.min(Math.max(fps, 0.5), 30));
      this.showPlaying();
    }
  }

  pause() {
    clearInterval(this.playing);
    this.playing = null;
    if (this.play) this.showPlaying();
  }

  showPlaying() {
    say(this.play, this.playing ? "⏸" : "▶");
    this.play.setAttribute("aria-label", this.playing ? "Pause (Space)" : "Play (Space)");
  }

  step(frames) {
    this.pause();
    this.go(Math.min(Math.max(this.frame + frames, 0), this.frames - 1));
  }

  go(frame) {
    this.frame = frame;
    this.update();
  }

  /** Tell the host what is pinned, after `delay` ms in which nothing else is. */
  tell(delay) {
    clearTimeout(this.telling);
    const { pick } = this;
    this.telling = setTimeout(() => this.onPick(pick), delay);
  }

  destroy() {
    this.pause();
    this.watcher.disconnect();
    cancelAnimationFrame(this.waiting);
    clearTimeout(this.telling);
    clearTimeout(this.announcing);
    for (const url of this.urls ?? []) URL.revokeObjectURL(url);
    this.root.remove();
  }
}

// ---------------------------------------------------------------- host

/** Mount on an element, or update what is mounted there; return what takes it away again. */
export function mountFilm(host, bytes, onPick = () => {}) {
  const film = (host.nonlocalFilm ??= new Filmstrip(host, onPick));
  film.onPick = onPick;
  film.show(bytes);
  return () => {
    film.destroy();
    delete host.nonlocalFilm;
  };
}
