/**
 * The time line of a clip: transport, a strip of all frames with their maps, and how the row of the
 * chosen query spreads over time. A picture has none.
 *
 * Every frame of the strip is a place to point at. What is painted there is computed once per query:
 * playing only shows it.
 */

import { TERMS } from "./attention.js";
import { buildChart, drawn } from "./charts.js";
import { colorize, rangeOf } from "./color.js";
import { button, element, setText } from "./elements.js";
import { boundsOf, centerOf, middleOf, positionAt } from "./geometry.js";
import { TITLES, controlsOf } from "./controls.js";
import { icon } from "./icons.js";
import { strongest } from "./marks.js";

const BUDGET_MS = 8; // of each frame of the screen, for painting the strip

export class Timeline {
  constructor(viewer) {
    this.viewer = viewer;
    this.playing = null;
  }

  get shown() {
    return this.viewer.frames > 1;
  }

  /** The rows of the chosen query, by the first network. */
  get rows() {
    const { viewer } = this;
    return viewer.rowsOf(viewer.rows[Math.min(viewer.selection.active, viewer.rows.length - 1)], viewer.shown[0]);
  }

  // -------------------------------------------------------------- building

  build() {
    this.pause();
    if (!this.shown) return element("div", { class: "timeline", hidden: "" });
    this.overlay = drawn("svg", { class: "time-arrows", "aria-hidden": "true" });
    this.strip = this.viewer.config.frames.map((_, frame) => this.buildFrame(frame));
    this.stripNode = element(
      "div",
      { class: "strip", role: "list", "aria-label": "Frames" },
      ...this.strip.map(({ node }) => node),
      this.overlay,
    );
    this.profile = element("div", { class: "profile" });
    this.node = element("div", { class: "timeline" }, this.buildTransport(), this.stripNode, ...this.buildNote(), this.profile);
    return this.node;
  }

  buildTransport() {
    const { viewer } = this;
    const { frames } = viewer;
    const act = (image, title, onclick) => button(icon(image), onclick, { title, "aria-label": title, class: "act" });
    this.play = act("play", "Play (Space)", () => this.toggle());
    this.slider = element("input", {
      type: "range",
      min: "1",
      max: String(frames),
      step: "1",
      class: "time",
      "aria-label": "Frame",
      oninput: () => {
        this.pause();
        viewer.go(Number(this.slider.value) - 1);
      },
    });
    this.clock = element("output", { class: "clock" });
    return element(
      "div",
      { class: "transport", role: "group", "aria-label": "Time" },
      act("first", "First frame (Home)", () => this.step(-frames)),
      act("back", "One frame back (comma)", () => this.step(-1)),
      this.play,
      act("on", "One frame on (period)", () => this.step(1)),
      act("last", "Last frame (End)", () => this.step(frames)),
      this.slider,
      this.clock,
      ...controlsOf("time", viewer),
    );
  }

  buildFrame(frame) {
    const { viewer } = this;
    const { image, frames } = viewer.config;
    const { key_grid: keyGrid, query_grid: queryGrid } = viewer.leading.spec;
    const grid = keyGrid ?? queryGrid ?? { height: 1, width: 1, cell_height: image.height, cell_width: image.width };
    const time = frames[frame].time.toFixed(2);
    const photo = element("img", { src: viewer.photoUrls[frame], alt: `Frame ${frame + 1}, ${time} s`, draggable: "false" });
    const bounds = boundsOf(grid);
    const canvas = element("canvas", {
      class: "map",
      "aria-hidden": "true",
      style:
        `left: ${(100 * bounds.left) / image.width}%; top: ${(100 * bounds.top) / image.height}%;` +
        `width: ${(100 * bounds.width) / image.width}%; height: ${(100 * bounds.height) / image.height}%`,
    });
    const mark = element("div", { class: "mark" });
    const picture = element(
      "div",
      {
        class: "picture",
        onpointermove: (event) => this.onHover(event, picture, frame),
        onpointerdown: () => viewer.stagesNode.classList.add("by-pointer"),
        onclick: (event) => this.onClick(event, picture, frame),
      },
      photo,
      canvas,
      mark,
    );
    const mass = element("output", { "data-mass": frame });
    const bar = element("i", { class: "mass" });
    const caption = element("figcaption", {}, element("span", {}, `${frame + 1} · ${time} s`), mass);
    const node = element("figure", { class: "frame", role: "listitem", "data-frame": frame }, picture, caption, bar);
    return { frame, picture, canvas, mark, mass, bar, node };
  }

  buildNote() {
    const { reach } = this.viewer.leading.spec;
    if (!reach) return [];
    return [element("p", { class: "none" }, `Queries of this block look at their own ${reach} only: weights elsewhere are 0.`)];
  }

  // -------------------------------------------------------------- pointing

  pointOf(event, picture) {
    const box = picture.getBoundingClientRect();
    const { width, height } = this.viewer.config.image;
    const inside = (value, limit) => Math.min(Math.max(value, 0), limit - 1e-6);
    return {
      x: inside(((event.clientX - box.left) / box.width) * width, width),
      y: inside(((event.clientY - box.top) / box.height) * height, height),
    };
  }

  /** Show the frame under the pointer, and, while nothing is pinned, take the place there as the query. */
  onHover(event, picture, frame) {
    const { viewer } = this;
    if (this.playing) return;
    viewer.selection.goTo({ points: [this.pointOf(event, picture)] });
    const position = positionAt(viewer.selection.cursor, viewer.queryGrid);
    if (!viewer.selection.queries.length && position !== null) {
      const changed = frame !== viewer.frame;
      viewer.frame = frame;
      viewer.look(position, frame);
      if (changed) viewer.stages.showFrame();
    } else if (frame !== viewer.frame) viewer.go(frame);
    else {
      viewer.stages.drawMarks();
      viewer.readout.read();
    }
  }

  onClick(event, picture, frame) {
    const { viewer } = this;
    this.pause();
    if (frame !== viewer.frame) viewer.go(frame);
    viewer.selection.pinAt({ points: [this.pointOf(event, picture)] }, { add: event.shiftKey });
    viewer.stagesNode.focus({ preventScroll: true });
  }

  // -------------------------------------------------------------- playing

  toggle() {
    if (this.playing) {
      this.pause();
      return;
    }
    const { viewer } = this;
    const every = 1000 / Math.min(Math.max(viewer.config.fps ?? 10, 0.5), 30);
    this.playing = setInterval(() => viewer.go((viewer.frame + 1) % viewer.frames), every);
    this.showPlaying();
  }

  pause() {
    clearInterval(this.playing);
    this.playing = null;
    if (this.play) this.showPlaying();
  }

  showPlaying() {
    this.play.replaceChildren(icon(this.playing ? "pause" : "play"));
    const title = this.playing ? "Pause (Space)" : "Play (Space)";
    this.play.setAttribute("aria-label", title);
    this.play.title = title;
  }

  step(frames) {
    const { viewer } = this;
    this.pause();
    viewer.go(Math.min(Math.max(viewer.frame + frames, 0), viewer.frames - 1));
    viewer.tell(600);
  }

  // -------------------------------------------------------------- painting

  /** Show what has changed: the time at once, the strip within what each frame of the screen leaves. */
  update() {
    if (!this.shown) return;
    const { viewer } = this;
    const { frame, frames, config } = viewer;
    this.slider.value = String(frame + 1);
    setText(this.clock, `${frame + 1} of ${frames} · ${config.frames[frame].time.toFixed(2)} s`);
    for (const panel of this.strip) panel.node.classList.toggle("current", panel.frame === frame);
    for (const chart of this.charts ?? []) chart.show(frame);
    const { settings, selection, shown } = viewer;
    const key = JSON.stringify([
      selection.current, shown[0], settings.direction, settings.strip, settings.scale, settings.fixed, settings.palette,
      settings.signedPalette, settings.follow, settings.onPicture, settings.timeArrows, settings.arrowCount, this.stripNode.clientWidth,
    ]);
    if (key === this.painted) return;
    this.painted = key;
    this.left = this.strip.map((_, at) => (frame + at) % frames);
    if (!this.waiting) this.waiting = requestAnimationFrame(() => this.paintSome());
  }

  paintSome() {
    this.waiting = null;
    const start = performance.now();
    const { rows } = this;
    while (this.left.length && performance.now() - start < BUDGET_MS) this.paintFrame(this.strip[this.left.shift()], rows);
    if (this.left.length) {
      this.waiting = requestAnimationFrame(() => this.paintSome());
      return;
    }
    this.drawArrows(rows);
    this.drawProfile(rows);
  }

  paintFrame({ node, canvas, mark, frame }, rows) {
    const { viewer } = this;
    const { settings, config, palettes, leading } = viewer;
    const points = rows.places[frame];
    const place = points?.length ? middleOf(points) : null;
    const maps = settings.strip === "photo" ? null : rows.at(frame);
    const values = maps?.[settings.strip];
    node.classList.toggle("plain", !values);
    node.classList.toggle("queried", Boolean(place));
    if (place) {
      mark.style.left = `${(100 * place.x) / config.image.width}%`;
      mark.style.top = `${(100 * place.y) / config.image.height}%`;
    }
    if (!values) return;
    const { signed } = leading.spec;
    const { width, height } = rows.onto;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(width, height);
    // over all frames the scale is one: a frame that is rescaled to itself could not be compared
    const mode = settings.scale === "per-map" ? "shared" : settings.scale;
    const range = rangeOf([], mode, { ...viewer.scaleOf(signed), signed, fixed: settings.fixed });
    const palette = palettes[signed ? settings.signedPalette : settings.palette];
    colorize(values, range, palette, new Uint32Array(pixels.data.buffer), maps.absent);
    context.putImageData(pixels, 0, 0);
  }

  /** Draw arrows over the strip from the query to the strongest keys of all frames. */
  drawArrows(rows) {
    this.overlay.replaceChildren();
    const { leading, selection, settings, config } = this.viewer;
    const row = leading.spacetime && settings.timeArrows ? rows.row(0) : null;
    if (!row?.axis.placed || selection.current.token !== undefined) return;
    const box = this.stripNode.getBoundingClientRect();
    this.overlay.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
    const { width, height } = config.image;
    const place = (frame, { x, y }) => {
      const inner = this.strip[frame].picture.getBoundingClientRect();
      return [inner.left - box.left + (x / width) * inner.width, inner.top - box.top + (y / height) * inner.height];
    };
    const { current } = selection;
    const query = place(current.frame ?? 0, middleOf(current.points));
    const { grid, size, placed } = row.axis;
    const part = rows.partAt(0);
    const values = row[settings.strip === "photo" ? "whole" : settings.strip].subarray(0, placed);
    for (const index of strongest(values, settings.arrowCount)) {
      const key = row.axis.cell(index);
      const end = place(leading.clipFrame(part, Math.floor(key / size), !rows.column), centerOf(key % size, grid));
      const [from, to] = rows.column ? [end, query] : [query, end];
      const line = { x1: from[0], y1: from[1], x2: to[0], y2: to[1] };
      this.overlay.append(
        drawn("line", { ...line, class: "halo" }),
        drawn("line", { ...line, class: "shaft" }),
        drawn("circle", { cx: end[0], cy: end[1], r: 3.5, class: "tip", "data-key": key }),
      );
    }
  }

  // -------------------------------------------------------------- over time

  drawProfile(rows) {
    const { leading, frame } = this.viewer;
    this.shares = null;
    this.charts = leading.spacetime ? this.massCharts(rows) : this.rowCharts(rows);
    for (const chart of this.charts) chart.show(frame);
    const signed = "This block has no softmax: its weights have any sign, and frames have no share of them.";
    const nodes = this.charts.map(({ node }) => node);
    this.profile.replaceChildren(...(leading.spacetime && leading.spec.signed ? [element("p", { class: "none" }, signed)] : nodes));
    for (const panel of this.strip) {
      const share = this.shares?.whole[panel.frame];
      const words = this.shares ? (Number.isFinite(share) ? `${(100 * share).toFixed(1)} %` : "–") : rows.places[panel.frame] ? "" : "lost";
      setText(panel.mass, words);
      panel.mass.dataset.exact = share ?? "";
      panel.bar.style.width = this.shares ? `${100 * Math.max(0, Math.min(1, share ?? 0))}%` : "0";
    }
  }

  chart(options) {
    const room = this.viewer.root.clientWidth;
    const half = room > 720 && !this.viewer.leading.spacetime;
    return buildChart({ ...options, width: Math.max(280, Math.min(760, half ? room / 2 - 12 : room)) });
  }

  massCharts(rows) {
    const row = rows.row(0);
    if (!row?.axis.placed || this.viewer.leading.spec.signed) return [];
    const onPicture = row.onPicture ? 1 : row.axis.placed / row.axis.length;
    this.shares = Object.fromEntries(TERMS.map((term) => [term, rows.shares(term)]));
    const values = TERMS.flatMap((term) => this.shares[term]).filter(Number.isFinite);
    return [
      this.chart({
        title: rows.column ? "Share of all looks at this place, by frame" : "Share of the query's attention in each frame",
        series: TERMS.map((term) => ({ name: TITLES[term], values: this.shares[term], class: term })),
        top: Math.max(0, ...values),
        format: (value) => `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`,
        line: { value: onPicture / this.shares.whole.filter(Number.isFinite).length, name: "uniform" },
        queried: this.viewer.selection.current.frame ?? 0,
      }),
    ];
  }

  rowCharts(rows) {
    if (rows.column) return []; // entropy and share are of rows alone
    const { viewer } = this;
    const { leading, frames, selection } = viewer;
    const { signed } = leading.spec;
    const { keyAxis } = leading.attention;
    const keys = viewer.settings.onPicture ? keyAxis.placed : keyAxis.length;
    this.numbers = Array.from({ length: frames }, (_, t) => {
      const row = rows.row(t);
      return row ? leading.attentions[t].statistics(row) : { entropy: NaN, pairwiseShare: NaN };
    });
    const queried = selection.current.frame ?? 0;
    const share = this.chart({
      title: "Pairwise share of the query's logits in each frame",
      series: [{ name: "Pairwise share", values: this.numbers.map((one) => one.pairwiseShare), class: "pairwise" }],
      top: 1,
      format: (value) => `${(100 * value).toFixed(0)} %`,
      queried,
    });
    if (signed) return [share];
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

  destroy() {
    this.pause();
    cancelAnimationFrame(this.waiting);
  }
}
