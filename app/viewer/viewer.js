/**
 * The attention viewer: point at a picture, see where non-local blocks look from there.
 *
 * The same modules serve every host (bundle.py puts them into one). They are given one safetensors
 * buffer (see payload.py) and answer every movement of the mouse from the queries and keys in it;
 * nobody is asked. The host hears of pinned queries and of chosen settings only.
 */

import { TERMS, writeDifference } from "./attention.js";
import { parse, parseConfig } from "./buffer.js";
import { Camera } from "./camera.js";
import { Choices } from "./choices.js";
import { paletteWords, rangeOf, sharedScale } from "./color.js";
import { ColorBar } from "./color_bar.js";
import { MOST_SHOWN, buildToolbar, remembered } from "./controls.js";
import { Dependence } from "./dependence.js";
import { element } from "./elements.js";
import { WHOLE_VIEW, centerOf } from "./geometry.js";
import { buildHelp } from "./help.js";
import { Keyboard } from "./keyboard.js";
import { StrongestKeys } from "./keys.js";
import { FrameRecords, Rows } from "./over_time.js";
import { Pointer } from "./pointer.js";
import { buildQueryList } from "./query_list.js";
import { Readout } from "./readout.js";
import { Saving } from "./saving.js";
import { Selection } from "./selection.js";
import { Stages, subtitlesOf } from "./stages.js";
import { Timeline } from "./timeline.js";
import { Tokens } from "./tokens.js";

export class Viewer {
  constructor(host, onPick) {
    this.onPick = onPick;
    this.settings = { ...remembered };
    this.selection = new Selection(this);
    this.camera = new Camera(this);
    this.pointer = new Pointer(this);
    this.keyboard = new Keyboard(this);
    this.readout = new Readout(this);
    this.stages = new Stages(this);
    this.choices = new Choices(this);
    this.saving = new Saving(this);
    this.timeline = new Timeline(this);
    this.keys = new StrongestKeys(this);
    this.colorBar = new ColorBar(this);
    this.dependence = new Dependence(this);
    this.tokens = new Tokens(this);
    this.told = null; // what the host was told last, and when
    this.toldAt = 0;
    this.touch = matchMedia("(hover: none)").matches;
    this.root = element("div", { class: "lens", onkeydown: (event) => this.keyboard.keepKey(event) });
    this.resized = new ResizeObserver(() => this.camera.measure() && this.stages.drawMarks());
    host.append(this.root);
  }

  /** Show a payload; pinned queries and settings stay where they still make sense. */
  show(bytes) {
    const config = parseConfig(bytes);
    const given = JSON.stringify(config.view ?? null);
    if (config.id === this.config?.id) {
      if (given !== this.given) this.applyView(config.view, given);
      return;
    }
    const before = this.config;
    this.bytes = bytes;
    this.dependence.forget();
    this.config = config;
    this.tensors = parse(bytes).tensors;
    this.frames = config.frames?.length ?? 1;
    this.records = config.records.map((spec, index) => {
      const record = new FrameRecords(spec, this.tensors, index, this.frames);
      record.subtitles = subtitlesOf(spec);
      return record;
    });
    this.predictions = this.records.map(({ arrays }) => arrays.prediction);
    for (const url of this.urls ?? []) URL.revokeObjectURL(url);
    this.urls = [];
    this.photos = config.frames ? config.frames.map((_, frame) => this.tensors[`frame.${frame}`]) : [this.tensors.image];
    this.photoUrls = this.photos.map((bytes) => this.blobUrl(bytes, config.image.type));
    this.predictionUrls = this.records.map(({ parts }) =>
      parts.map(({ prediction }) => prediction && this.blobUrl(prediction, "image/png")),
    );
    const words = (names, table) =>
      Object.fromEntries(names.map((name, index) => [name, paletteWords(table, index)]));
    this.palettes = {
      ...words(config.palettes, this.tensors.palettes),
      ...words(config.diverging_palettes, this.tensors.diverging_palettes),
    };
    const sameImage = before?.image.id === config.image.id;
    const sameRecords = before && JSON.stringify(before.records.map(titleOf)) === JSON.stringify(config.records.map(titleOf));
    if (!sameImage) {
      this.selection.queries = [];
      this.selection.onToken = null;
      this.camera.view = WHOLE_VIEW;
      this.selection.live = null;
      this.timeline.pause();
      this.frame = Math.floor(this.frames / 2);
    }
    if (!sameRecords && (before?.records.length ?? 0) !== config.records.length) {
      this.terms = this.records.length > 1 ? ["whole"] : [...TERMS];
      this.shown = this.records.map((_, index) => index).slice(0, MOST_SHOWN);
      this.difference = [];
    }
    if (!sameImage) this.selection.cursor = null;
    this.selection.keepKnown();
    if (config.view && (!sameImage || given !== this.given)) this.choices.readView(config.view);
    this.given = given;
    this.build();
  }

  applyView(view, given) {
    this.given = given;
    if (view) this.choices.readView(view);
    this.build();
  }

  /** Tell the host, after `delay` ms in which nothing else happens. */
  tell(delay = 0) {
    clearTimeout(this.telling);
    this.telling = setTimeout(() => this.tellNow(), delay);
  }

  tellNow() {
    clearTimeout(this.telling);
    const view = this.describeView();
    const told = JSON.stringify(view);
    if (told !== this.told) [this.told, this.toldAt] = [told, Date.now()];
    this.onPick(this.selection.pinned, view);
  }

  // -------------------------------------------------------------- what hosts and tests ask for

  get queries() {
    return this.selection.queries;
  }

  get view() {
    return this.camera.view;
  }

  zoom(factor) {
    this.camera.zoom(factor);
  }

  projection() {
    return this.camera.projection();
  }

  describeView() {
    return this.choices.describeView();
  }

  // -------------------------------------------------------------- building

  /** The record whose grid the keyboard moves on. */
  get leading() {
    return this.records[this.shown[0]];
  }

  get queryGrid() {
    const { spec } = this.leading;
    return this.settings.direction === "column" ? spec.key_grid : spec.query_grid;
  }

  /** Return what is asked before anything is pointed at: the place nearest the middle, or the first token. */
  get first() {
    const grid = this.queryGrid;
    if (!grid) return { points: [], token: this.tokens.names[0], frame: this.frame };
    const middle = Math.floor(grid.height / 2) * grid.width + Math.floor(grid.width / 2);
    const { attention } = this.leading;
    const { cells } = this.settings.direction === "column" ? attention.keyAxis : attention.queryAxis;
    const to = centerOf(middle, grid);
    const far = (cell) => Math.hypot(centerOf(cell, grid).x - to.x, centerOf(cell, grid).y - to.y);
    const own = [...(cells ?? [])].filter((cell) => cell < grid.height * grid.width);
    const nearest = own.length ? own.reduce((best, cell) => (far(cell) < far(best) ? cell : best)) : middle;
    return { points: [centerOf(nearest, grid)], frame: this.frame };
  }

  /** Build everything: toolbar, panels, readout. */
  build() {
    const { width, height } = this.config.image;
    const hadFocus = this.stagesNode && this.stagesNode === this.root.getRootNode().activeElement;
    this.listNode = element("div", { class: "pins" });
    this.legendNode = element("ul", { class: "legend", "aria-label": "Predicted classes" });
    this.colorBar.build();
    this.help = buildHelp();
    this.stagesNode = element("div", {
      class: "panels",
      tabindex: "0",
      role: "application",
      "aria-roledescription": "attention viewer",
      "aria-label":
        `Attention of ${this.shown.map((index) => this.records[index].title).join(", ")}. ` +
        "Arrow keys move the query, Enter pins it, Escape clears it, question mark lists all keys.",
      onkeydown: (event) => this.keyboard.onKey(event),
    });
    this.stagesNode.addEventListener("wheel", (event) => this.camera.onWheel(event), { passive: false });
    this.root.style.setProperty("--aspect", width / height);
    this.root.classList.toggle("moving", this.frames > 1);
    this.resized.disconnect();
    this.resized.observe(this.stagesNode);
    this.root.replaceChildren(
      // the maps come first for the keyboard; the toolbar stands above them
      this.stagesNode, buildToolbar(this), this.legendNode, this.listNode, this.timeline.build(), this.keys.build(), this.readout.build(), this.readout.status, this.help,
    );
    this.layOut();
    if (hadFocus) this.stagesNode.focus({ preventScroll: true });
  }

  blobUrl(bytes, type) {
    const url = URL.createObjectURL(new Blob([bytes], { type }));
    this.urls.push(url);
    return url;
  }

  /** Make the panels that queries, records and terms ask for, and draw everything. */
  layOut() {
    this.selection.keepAskable();
    const rows = this.selection.queries.length > 1 ? this.selection.queries : [this.selection.current];
    const { shown, terms, difference } = this;
    const lines = shown.length === 1 ? [terms] : terms.map((term) => [term]);
    this.panels = [];
    const children = [];
    const oneLine = rows.length === 1 && lines.length === 1;
    this.rows = rows.map((query, row) => {
      for (const [index, line] of lines.entries()) {
        children.push(index === 0 ? this.stages.photoPanel(query, row).node : element("div", { class: "gap", "aria-hidden": "true" }));
        for (const record of shown) for (const term of line) children.push(this.stages.mapPanel(term, record, row).node);
        if (difference.length) children.push(this.stages.differencePanel(line[0], row).node);
      }
      return { query, rows: new Map(), maps: [] };
    });
    const columns = children.length / (rows.length * lines.length);
    for (const [at, node] of children.entries()) {
      node.style.setProperty("--column", (at % columns) + 1);
      node.style.setProperty("--row", Math.floor(at / columns));
    }
    const pager = this.stages.buildPager(children);
    const swiped = lines.length === 1 ? this.stages.withMapsTogether(children) : children;
    this.stagesNode.style.setProperty("--columns", columns);
    this.stagesNode.classList.toggle("one-line", oneLine);
    const own = this.panels.filter(({ name, row }) => row === 0 && (name === "difference" || name === "dependence")).length;
    this.stagesNode.style.setProperty("--own", own); // with a scale of their own, at the end of the line
    this.stagesNode.classList.toggle("swiped", lines.length === 1); // a photo has one line of maps
    this.stagesNode.classList.toggle("dense", columns > 4);
    this.stagesNode.classList.toggle("with-tokens", this.panels.some(({ strip }) => strip));
    // the scale stands below the maps that come first: nobody scrolls past other pins to read it
    const first = lines.length === 1 ? 2 : columns;
    this.stagesNode.replaceChildren(...swiped.slice(0, first), this.colorBar.node, ...pager, ...swiped.slice(first));
    for (const panel of this.panels) panel.settle?.();
    this.legendNode.replaceChildren(...this.stages.legendItems());
    this.listQueries();
    this.structure = this.structureKey();
    this.choices.applySettings();
    this.camera.measure();
    for (const row of this.rows) this.compute(row);
    this.paint();
  }

  /** List the pinned queries where there are several: the first must not push the maps from under the mouse. */
  listQueries() {
    this.listNode.replaceChildren(...(this.selection.queries.length > 1 ? [buildQueryList(this)] : []));
  }

  /** What decides which panels there are. */
  structureKey() {
    const { queries } = this.selection;
    const { shown, terms, difference, settings } = this;
    return JSON.stringify([Math.max(1, queries.length), shown, terms, difference, settings.direction]);
  }

  /** Make a position the query and show its maps. */
  look(position, frame = this.frame) {
    this.selection.live = { points: [centerOf(position, this.queryGrid)], frame };
    if (!this.selection.queries.length) this.refresh();
  }

  /** Compute and paint anew what the current query shows. */
  refresh() {
    const row = this.rows[Math.min(this.selection.active, this.rows.length - 1)];
    row.query = this.selection.current;
    this.compute(row);
    this.paint(row);
  }

  compute(row) {
    for (const rows of row.rows.values()) rows.look(row.query, this.settings, this.classHeld(row.query));
    row.maps = this.shown.map((record) => this.rowsOf(row, record).at(this.frame));
  }

  /** Return the rows of one record for the query of a row of panels. */
  rowsOf(row, record) {
    let rows = row.rows.get(record);
    if (!rows) {
      rows = new Rows(this.records[record], this.settings.direction);
      rows.look(row.query, this.settings, this.classHeld(row.query));
      row.rows.set(record, rows);
    }
    return rows;
  }

  /** Return what holds of the places of a query's class, as the leading network predicts it; null of any other query. */
  classHeld({ category }) {
    return category ? (point, frame) => this.readout.classAt(point, frame) === category : null;
  }

  /** Show another frame: what was computed of it is there. */
  go(frame) {
    this.frame = frame;
    for (const row of this.rows) row.maps = this.shown.map((record) => this.rowsOf(row, record).at(frame));
    this.stages.showFrame();
    this.paint();
  }

  mapsOf(row, record) {
    const at = this.shown.indexOf(record);
    return at >= 0 ? this.rows[row].maps[at] : this.rowsOf(this.rows[row], record).at(this.frame);
  }

  /** Return the scale that all records of one unit share; null where there is none. */
  scaleOf(signed) {
    const specs = this.records.filter(({ spec }) => spec.signed === signed).map(({ spec }) => spec);
    return specs.length ? sharedScale(specs, this.settings.onPicture) : null;
  }

  paint(only = null) {
    const { scale, fixed } = this.settings;
    const units = [this.scaleOf(true), this.scaleOf(false)];
    for (const panel of this.panels) {
      if (!panel.isMap || (only && this.rows[panel.row] !== only)) continue;
      this.tokens.paint(panel);
      let values;
      let ends;
      let absent;
      if (panel.name === "dependence") {
        const found = this.dependence.at(this.records[panel.record], this.frame);
        panel.paint(found.values, rangeOf([], "shared", { scale_top: found.top || 1 }), "shared", found.absent);
        continue;
      }
      if (panel.difference) {
        const [one, other] = this.difference.map((record) => this.mapsOf(panel.row, record));
        values = one && other ? panel.difference : null;
        if (values) writeDifference(values, one[panel.term], other[panel.term], panel.places);
        absent = values && (one.absent || other.absent) ? Uint8Array.from(values, (value) => Number(value !== value)) : null;
        ends = units[this.records[this.difference[0]].spec.signed ? 0 : 1];
      } else {
        const maps = this.mapsOf(panel.row, panel.record);
        values = maps?.[panel.name] ?? null;
        absent = maps?.absent;
        ends = units[panel.signed ? 0 : 1];
      }
      panel.paint(values, rangeOf(values ?? [], scale, { ...ends, signed: panel.signed, fixed }), scale, absent);
    }
    this.colorBar.update();
    this.stages.drawMarks();
    this.readout.read();
    this.timeline.update();
  }

  toggleFullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.root.requestFullscreen?.();
  }

  showHelp() {
    this.help.showModal();
  }

  destroy() {
    this.dependence.forget();
    this.timeline.destroy();
    clearTimeout(this.telling);
    clearTimeout(this.readout.announcing);
    clearTimeout(this.pointer.pressing);
    this.resized.disconnect();
    for (const url of this.urls ?? []) URL.revokeObjectURL(url);
    this.root.remove();
  }
}

const titleOf = ({ title, block, head }) => [title, block, head];

// ---------------------------------------------------------------- hosts

/** Mount on an element, or update what is mounted there; return what takes it away again. */
export function mount(host, bytes, onPick = () => {}) {
  const viewer = (host.nonlocalLens ??= new Viewer(host, onPick));
  viewer.onPick = onPick;
  viewer.show(bytes);
  return () => {
    viewer.destroy();
    if (host.nonlocalLens === viewer) delete host.nonlocalLens; // not one that came after it
  };
}
