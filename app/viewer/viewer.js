/**
 * The attention viewer: point at a picture, see where non-local blocks look from there.
 *
 * The same modules serve every host (bundle.py puts them into one). They are given one safetensors
 * buffer (see payload.py) and answer every movement of the mouse from the queries and keys in it;
 * nobody is asked. The host hears of pinned queries and of chosen settings only.
 */

import { Attention, TERMS, rankOf, writeDifference } from "./attention.js";
import { parse, parseConfig, tensorsOf } from "./buffer.js";
import { formatValue, paletteWords, pinColor, rangeOf, sharedScale } from "./color.js";
import { MOST_SHOWN, TITLES, buildHelp, buildQueryList, buildToolbar, remembered, rename } from "./controls.js";
import { download, element, fileName, setText } from "./elements.js";
import { figureOf, paintFigure, svgOf } from "./figure.js";
import {
  WHOLE_VIEW, cellOf, centerOf, clampedView, cornersOf, middleOf, positionAt, positionsOf, sameGrid, sumWithin, thinned,
  viewShowing, zoomedView,
} from "./geometry.js";
import { RING, cursorShapes, mapShapes, queryShapes } from "./marks.js";
import { Panel, UNITS } from "./panel.js";
import { fillPage, recordBytes } from "./takeaway.js";

const WHOLE_SUBTITLES = {
  coupled: "softmax(pairwise + unary)",
  pairwise: "softmax(pairwise): there is no unary term",
  unary: "softmax(unary): the same for every query",
  unnormalized: "no softmax: the logits themselves",
};

/** Return what stands under the title of each map: what it is, and what it does not depend on. */
export function subtitlesOf({ coupling, learned, row_sum: rowSum, reach }) {
  const whole = coupling === "disentangled" ? `pairwise + unary: rows sum to ${formatValue(rowSum)}` : WHOLE_SUBTITLES[coupling];
  const everyone = reach ? "all that look there" : "every query";
  return {
    whole: reach ? `${whole}, within its own ${reach}` : whole,
    pairwise: coupling === "unary" ? "none, so uniform: no query takes part" : "what depends on the query",
    unary:
      coupling === "pairwise" ? "none, so uniform: whitening takes it out"
      : learned ? `learned, the same for ${everyone}`
      : `the same for ${everyone}`,
  };
}

const STEPS = {
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  PageUp: [-10, 0],
  PageDown: [10, 0],
  Home: [0, -Infinity],
  End: [0, Infinity],
};

/** What belongs to a view: all settings but the tool in hand. */
const SAVED_SETTINGS = Object.keys(remembered).filter((name) => name !== "tool");

export const MOST_QUERIES = 16;
const LASSO_POINTS = 24;
const DRAG_PIXELS = 6; // a press that moves less is a click
const LONG_PRESS_MS = 550;
const LINK_MS = 4000; // the longest that a link waits for the host to answer
const LINK_REST_MS = 1000; // between answers, should several be under way
const GRID_OF_QUERIES = [2, 3]; // rows, columns
const DISC_SHARE = 0.05; // radius of the readout's disc, of the image's shorter side

const rounded = ({ x, y }) => [Math.round(x * 10) / 10, Math.round(y * 10) / 10];

export class Viewer {
  constructor(host, onPick) {
    this.onPick = onPick;
    this.settings = { ...remembered };
    this.queries = []; // pinned: { points, name }
    this.active = 0;
    this.view = WHOLE_VIEW;
    this.root = element("div", { class: "lens", onkeydown: (event) => this.keepKey(event) });
    this.resized = new ResizeObserver(() => this.measure() && this.drawMarks());
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
    this.config = config;
    this.tensors = parse(bytes).tensors;
    this.records = config.records.map((spec, index) => {
      const arrays = tensorsOf(this.tensors, index);
      return { spec, arrays, title: spec.title, attention: new Attention(spec, arrays), subtitles: subtitlesOf(spec) };
    });
    this.predictions = this.records.map(({ arrays }) => arrays.prediction);
    for (const url of this.urls ?? []) URL.revokeObjectURL(url);
    this.urls = [];
    this.photoUrl = this.blobUrl(this.tensors.image, config.image.type);
    this.predictionUrls = this.predictions.map((bytes) => bytes && this.blobUrl(bytes, "image/png"));
    const words = (names, table) =>
      Object.fromEntries(names.map((name, index) => [name, paletteWords(table, index)]));
    this.palettes = {
      ...words(config.palettes, this.tensors.palettes),
      ...words(config.diverging_palettes, this.tensors.diverging_palettes),
    };
    const sameImage = before?.image.id === config.image.id;
    const sameRecords = before && JSON.stringify(before.records.map(titleOf)) === JSON.stringify(config.records.map(titleOf));
    if (!sameImage) {
      this.queries = [];
      this.view = WHOLE_VIEW;
      this.live = null;
    }
    if (!sameRecords && (before?.records.length ?? 0) !== config.records.length) {
      this.terms = this.records.length > 1 ? ["whole"] : [...TERMS];
      this.shown = this.records.map((_, index) => index).slice(0, MOST_SHOWN);
      this.difference = [];
    }
    const grid = this.queryGrid;
    this.live ??= { points: [centerOf(Math.floor(grid.height / 2) * grid.width + Math.floor(grid.width / 2), grid)] };
    this.cursor ??= this.live.points[0];
    if (!sameImage) this.cursor = this.live.points[0];
    if (config.view && (!sameImage || given !== this.given)) this.readView(config.view);
    this.given = given;
    this.build();
  }

  // -------------------------------------------------------------- the view, from and to the host

  /** Take over queries and settings that the host gives; what makes no sense is left out. */
  readView(view) {
    const { width, height } = this.config.image;
    const inside = ([x, y]) => x >= 0 && y >= 0 && x < width && y < height;
    if (Array.isArray(view.queries)) {
      this.queries = view.queries
        .filter(({ points }) => points?.length && points.every(inside))
        .slice(0, MOST_QUERIES)
        .map(({ points, name }) => ({ points: points.map(([x, y]) => ({ x, y })), name: name ?? "" }));
      const last = Math.max(0, this.queries.length - 1);
      this.active = Number.isInteger(view.active) && view.active >= 0 && view.active < last ? view.active : last;
      if (this.queries.length) this.cursor = middleOf(this.queries[this.active].points);
    }
    const { settings } = this;
    for (const name of SAVED_SETTINGS) {
      if (view[name] !== undefined && typeof view[name] === typeof settings[name]) settings[name] = view[name];
    }
    if (!(settings.palette in this.palettes)) settings.palette = remembered.palette;
    if (!(settings.signedPalette in this.palettes)) settings.signedPalette = remembered.signedPalette;
    if (Array.isArray(view.terms) && view.terms.length) this.terms = TERMS.filter((term) => view.terms.includes(term));
    const known = (index) => Number.isInteger(index) && index >= 0 && index < this.records.length;
    if (Array.isArray(view.shown) && view.shown.some(known)) this.shown = view.shown.filter(known).slice(0, MOST_SHOWN);
    if (Array.isArray(view.difference)) this.difference = view.difference.filter(known);
    this.checkDifference();
  }

  applyView(view, given) {
    this.given = given;
    if (view) this.readView(view);
    this.build();
  }

  /** Return what the host is told: pinned queries in image pixels, and the settings. */
  describeView() {
    return {
      query: this.pinned,
      queries: this.queries.map(({ points, name }) => ({ points: points.map(rounded), name: name ?? "" })),
      active: this.active,
      ...Object.fromEntries(SAVED_SETTINGS.map((name) => [name, this.settings[name]])),
      terms: this.terms,
      shown: this.shown,
      difference: this.difference,
    };
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
    this.onPick(this.pinned, view);
  }

  /** The record whose grid the keyboard moves on. */
  get leading() {
    return this.records[this.shown[0]];
  }

  get queryGrid() {
    const { spec } = this.leading;
    return this.settings.direction === "column" ? spec.key_grid : spec.query_grid;
  }

  get current() {
    return this.queries[this.active] ?? this.live;
  }

  /** The chosen pinned query's place among the leading record's queries; null where none is pinned. */
  get pinned() {
    const query = this.queries[this.active];
    return query ? positionAt(middleOf(query.points), this.leading.spec.query_grid) : null;
  }

  positionOf(query) {
    return positionAt(middleOf(query.points), this.queryGrid);
  }

  // -------------------------------------------------------------- building

  /** Build everything: toolbar, panels, readout. */
  build() {
    const { width, height } = this.config.image;
    const hadFocus = this.stagesNode && this.stagesNode === this.root.getRootNode().activeElement;
    this.status = element("div", { class: "announcement", role: "status", "aria-live": "polite" });
    this.fields = {};
    this.listNode = element("div", {});
    this.help = buildHelp();
    this.stagesNode = element("div", {
      class: "panels",
      tabindex: "0",
      role: "application",
      "aria-roledescription": "attention viewer",
      "aria-label":
        `Attention of ${this.shown.map((index) => this.records[index].title).join(", ")}. ` +
        "Arrow keys move the query, Enter pins it, Escape clears it, question mark lists all keys.",
      style: `--aspect: ${width / height}`,
      onkeydown: (event) => this.onKey(event),
    });
    this.stagesNode.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    this.resized.disconnect();
    this.resized.observe(this.stagesNode);
    this.root.replaceChildren(
      buildToolbar(this), this.listNode, this.stagesNode, this.buildReadout(), this.status, this.help,
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
    const rows = this.queries.length > 1 ? this.queries : [this.current];
    const { shown, terms, difference } = this;
    const lines = shown.length === 1 ? [terms] : terms.map((term) => [term]);
    this.panels = [];
    const children = [];
    const oneLine = rows.length === 1 && lines.length === 1;
    this.rows = rows.map((query, row) => {
      for (const [index, line] of lines.entries()) {
        children.push(index === 0 ? this.photoPanel(query, row).node : element("div", { class: "gap", "aria-hidden": "true" }));
        for (const record of shown) for (const term of line) children.push(this.mapPanel(term, record, row).node);
        if (difference.length) children.push(this.differencePanel(line[0], row).node);
      }
      return { query, maps: shown.map((record) => this.records[record].attention.emptyMaps(this.settings.direction)) };
    });
    const columns = children.length / (rows.length * lines.length);
    this.stagesNode.style.setProperty("--columns", columns);
    this.stagesNode.classList.toggle("one-line", oneLine);
    this.stagesNode.classList.toggle("dense", columns > 4);
    this.stagesNode.replaceChildren(...children);
    this.listQueries();
    this.structure = this.structureKey();
    this.applySettings();
    this.measure();
    for (const row of this.rows) this.compute(row);
    this.paint();
  }

  /** List the pinned queries where there are several: the first must not push the maps from under the mouse. */
  listQueries() {
    this.listNode.replaceChildren(...(this.queries.length > 1 ? [buildQueryList(this)] : []));
  }

  /** What decides which panels there are. */
  structureKey() {
    const { queries, shown, terms, difference, settings } = this;
    return JSON.stringify([Math.max(1, queries.length), shown, terms, difference, settings.direction]);
  }

  handlers() {
    return {
      pointermove: (event, stage) => this.onMove(event, stage),
      pointerdown: (event, stage) => this.onPress(event, stage),
      pointerup: (event, stage) => this.onRelease(event, stage),
      pointercancel: () => this.cancelDrag(),
      dragstart: (event) => event.preventDefault(), // of a picture, which would end our own
      click: (event, stage) => this.onClick(event, stage),
      contextmenu: (event) => event.pointerType === "touch" && event.preventDefault(),
    };
  }

  addPanel(options) {
    const panel = new Panel({ photo: this.photoUrl, alt: "", handlers: this.handlers(), ...options });
    this.panels.push(panel);
    return panel;
  }

  photoPanel(query, row) {
    const many = this.queries.length > 1;
    const panel = this.addPanel({
      name: "photo",
      title: many ? this.nameOf(query) : "Photo",
      subtitle: many ? this.placeOf(query, { short: !query.name }) : "",
      number: many ? row + 1 : 0,
      color: pinColor(row),
      alt: this.config.image.alt,
      row,
    });
    const url = this.predictionUrls[this.shown[0]];
    if (url) {
      panel.prediction = element("img", { class: "prediction", src: url, alt: "Predicted segmentation", draggable: "false" });
      panel.layers.append(panel.prediction);
      if (row === 0) panel.node.append(this.buildLegend());
    }
    return panel;
  }

  buildLegend() {
    return element(
      "ul",
      { class: "legend", "aria-label": "Predicted classes" },
      ...this.leading.spec.classes.map(({ name, color, share }) =>
        element(
          "li",
          { class: share > 0 ? "" : "absent", title: `${(100 * share).toFixed(1)} % of the pixels` },
          element("i", { style: `background: rgb(${color.join(",")})` }),
          name,
        ),
      ),
    );
  }

  mapPanel(term, index, row) {
    const { spec, title, subtitles } = this.records[index];
    const comparing = this.shown.length > 1;
    const panel = this.addPanel({
      name: term,
      title: comparing ? title : TITLES[term],
      subtitle: comparing ? `${TITLES[term]}: ${subtitles[term]}` : subtitles[term],
      unit: UNITS[spec.signed ? "logit" : "uniform"],
      signed: spec.signed,
      row,
      record: index,
    });
    const grid = this.settings.direction === "column" ? spec.query_grid : spec.key_grid;
    return panel.addMap(grid, this.config.image, comparing ? `${TITLES[term]} of ${title}` : TITLES[term]);
  }

  differencePanel(term, row) {
    const [one, other] = this.difference.map((index) => this.records[index]);
    const column = this.settings.direction === "column";
    const grid = column ? one.spec.query_grid : one.spec.key_grid;
    const otherGrid = column ? other.spec.query_grid : other.spec.key_grid;
    const sums = column || one.spec.row_sum === other.spec.row_sum ? "" : `; rows sum to ${one.spec.row_sum} and ${other.spec.row_sum}`;
    const panel = this.addPanel({
      name: "difference",
      title: `${one.title} − ${other.title}`,
      subtitle: `${TITLES[term]}${term === "whole" ? sums : ""}`,
      unit: UNITS[one.spec.signed ? "logit-difference" : "difference"],
      signed: true,
      row,
      record: "difference",
    });
    panel.term = term;
    panel.difference = new Float32Array(grid.width * grid.height);
    panel.places = sameGrid(grid, otherGrid)
      ? null
      : Array.from(panel.difference, (_, at) => positionAt(centerOf(at, grid), otherGrid));
    return panel.addMap(grid, this.config.image, `Difference between ${one.title} and ${other.title}`);
  }

  buildReadout() {
    const field = (name, label) => {
      this.fields[name] = element("dd", { "data-field": name });
      this.fields[`${name}Label`] = element("dt", {}, label);
      return element("div", {}, this.fields[`${name}Label`], this.fields[name]);
    };
    const { width, height } = this.config.image;
    this.discRadius = Math.max(2, Math.round(DISC_SHARE * Math.min(width, height)));
    return element(
      "dl",
      { class: "readout" },
      ...(this.records.length > 1 ? [field("of", "Numbers of")] : []),
      field("query", "Query"),
      field("cursor", "Under the cursor"),
      field("value", "Whole attention there"),
      field("rank", "Rank there"),
      field("disc", `Within ${this.discRadius} pixels of it`),
      field("entropy", "Entropy of this row"),
      field("share", "Pairwise share of this row"),
    );
  }

  // -------------------------------------------------------------- settings

  set(setting, value) {
    this.settings[setting] = value;
    remembered[setting] = value;
    if (this.structureKey() === this.structure) {
      this.applySettings();
      this.paint();
    } else this.layOut();
    this.tell(600);
  }

  applySettings() {
    const { settings, root } = this;
    root.style.setProperty("--opacity", settings.opacity);
    root.classList.toggle("smooth", settings.smooth);
    root.classList.toggle("grey", settings.grey);
    root.classList.toggle("fixing", settings.scale === "fixed");
    root.classList.toggle("predicting", settings.prediction && Boolean(this.predictions[this.shown[0]]));
    this.stagesNode.dataset.tool = settings.tool;
    this.stagesNode.dataset.direction = settings.direction;
    for (const panel of this.panels) {
      if (panel.bar) panel.setPalette(this.palettes[panel.signed ? settings.signedPalette : settings.palette]);
    }
  }

  toggleTerm(term, on, node) {
    const terms = TERMS.filter((other) => (other === term ? on : this.terms.includes(other)));
    if (!terms.length) {
      node.checked = true; // one map must be there
      return;
    }
    this.terms = terms;
    this.layOut();
    this.tell(600);
  }

  toggleRecord(index, on, node) {
    const shown = this.records.map((_, at) => at).filter((at) => (at === index ? on : this.shown.includes(at)));
    if (!shown.length || shown.length > MOST_SHOWN) {
      node.checked = !on;
      return;
    }
    this.shown = shown;
    this.layOut();
    this.tell(600);
  }

  /** The pairs of records whose maps can be subtracted: those of one unit. */
  differenceOptions() {
    const options = { "": "none" };
    for (const [a, one] of this.records.entries()) {
      for (const [b, other] of this.records.entries()) {
        if (a < b && one.spec.signed === other.spec.signed) options[`${a}-${b}`] = `${one.title} − ${other.title}`;
      }
    }
    return options;
  }

  setDifference(pair) {
    this.difference = pair;
    this.checkDifference();
    this.layOut();
    this.tell(600);
  }

  checkDifference() {
    if (!(this.difference.join("-") in this.differenceOptions())) this.difference = [];
  }

  // -------------------------------------------------------------- painting

  /** Make a position the query and show its maps. */
  look(position) {
    this.live = { points: [centerOf(position, this.queryGrid)] };
    if (!this.queries.length) this.refresh();
  }

  /** Compute and paint anew what the current query shows. */
  refresh() {
    const row = this.rows[Math.min(this.active, this.rows.length - 1)];
    row.query = this.current;
    this.compute(row);
    this.paint(row);
  }

  compute(row) {
    for (const [at, maps] of row.maps.entries()) {
      const { attention, spec } = this.records[this.shown[at]];
      const grid = this.settings.direction === "column" ? spec.key_grid : spec.query_grid;
      attention.fill(maps, positionsOf(row.query.points, grid));
    }
  }

  mapsOf(row, record) {
    const at = this.shown.indexOf(record);
    if (at >= 0) return this.rows[row].maps[at];
    // one side of the difference that is not shown itself
    const { attention, spec } = this.records[record];
    const { direction } = this.settings;
    const grid = direction === "column" ? spec.key_grid : spec.query_grid;
    return attention.fill(attention.emptyMaps(direction), positionsOf(this.rows[row].query.points, grid));
  }

  paint(only = null) {
    const { scale, fixed } = this.settings;
    const units = [true, false].map((signed) => {
      const specs = this.records.filter(({ spec }) => spec.signed === signed).map(({ spec }) => spec);
      return specs.length ? sharedScale(specs) : null;
    });
    for (const panel of this.panels) {
      if (!panel.grid || (only && this.rows[panel.row] !== only)) continue;
      let values;
      let ends;
      if (panel.difference) {
        const [one, other] = this.difference.map((record) => this.mapsOf(panel.row, record)[panel.term]);
        writeDifference(panel.difference, one, other, panel.places);
        values = panel.difference;
        ends = units[this.records[this.difference[0]].spec.signed ? 0 : 1];
      } else {
        values = this.mapsOf(panel.row, panel.record)[panel.name];
        ends = units[panel.signed ? 0 : 1];
      }
      panel.paint(values, rangeOf(values, scale, { ...ends, signed: panel.signed, fixed }), scale);
    }
    this.drawMarks();
    this.read();
  }

  /** Note how large stages are on the screen; return whether they are on it at all. */
  measure() {
    const stage = this.panels?.[0]?.stage;
    if (!stage) return false;
    const box = stage.getBoundingClientRect();
    this.stageSize = { width: box.width, height: box.height };
    this.placeView();
    return box.width > 0;
  }

  /** Return what takes an image point to a point of a stage, in pixels of the screen. */
  projection() {
    const { width, height } = this.config.image;
    const { zoom, left, top } = this.view;
    const across = (zoom * this.stageSize.width) / width;
    const down = (zoom * this.stageSize.height) / height;
    const project = ({ x, y }) => ({ x: (x - left * width) * across, y: (y - top * height) * down });
    project.scale = across;
    return project;
  }

  drawMarks() {
    const project = this.projection();
    const { settings } = this;
    const many = this.queries.length > 1;
    for (const panel of this.panels) {
      const { query } = this.rows[panel.row];
      const spec = this.records[panel.record]?.spec ?? this.leading.spec;
      const grid = settings.direction === "column" ? spec.key_grid : spec.query_grid;
      const shapes = [];
      if (panel.grid) {
        shapes.push(
          // of a difference, the strongest are those farthest from zero
          ...mapShapes(panel.difference ? panel.values.map(Math.abs) : panel.values, {
            points: query.points,
            grid: panel.grid,
            project,
            marks: settings,
            towards: settings.direction === "column",
            signed: panel.signed,
          }),
        );
      } else if (many) {
        for (const [index, other] of this.queries.entries()) {
          if (other === query) continue;
          const options = { color: pinColor(index), label: String(index + 1), faint: true };
          shapes.push(...queryShapes(other.points, grid, positionAt(other.points[0], grid), project, options));
        }
      }
      const index = this.queries.indexOf(query);
      const options = { color: index < 0 ? "#fff" : pinColor(index), label: many ? String(index + 1) : "" };
      shapes.push(...queryShapes(query.points, grid, positionAt(query.points[0], grid), project, options));
      const at = positionAt(this.cursor, grid);
      const onItself = query.points.length === 1 && at === positionAt(query.points[0], grid);
      if (index >= 0 && !onItself) shapes.push(...cursorShapes(this.cursor, project));
      const begun = this.drag?.path ?? (this.corner && cornersOf([this.corner, this.cursor], this.queryGrid));
      if (begun) shapes.push(...queryShapes(begun, grid, null, project));
      panel.draw(shapes);
    }
  }

  read() {
    const { spec, attention } = this.leading;
    const row = Math.min(this.active, this.rows.length - 1);
    for (const panel of this.panels) if (panel.grid) panel.readValue(positionAt(this.cursor, panel.grid));
    const column = this.settings.direction === "column";
    const maps = this.mapsOf(row, this.shown[0]);
    const onto = column ? spec.query_grid : spec.key_grid;
    const key = positionAt(this.cursor, onto);
    const { entropy, mean, pairwiseShare } = attention.statistics(maps);
    const cells = maps.whole.length;
    for (const panel of this.panels) {
      if (panel.name !== "photo") continue;
      setText(panel.value, this.queries.length > 1 ? "" : this.pinned === null ? "hovering: click to pin" : "pinned: Esc clears");
    }
    setText(this.fields.query, this.placeOf(this.current));
    setText(
      this.fields.cursor,
      this.queries.length ? this.describe(positionAt(this.cursor, onto), onto) : "the query itself",
    );
    if (this.fields.of) setText(this.fields.of, this.leading.title);
    const { suffix } = UNITS[spec.signed ? "logit" : "uniform"];
    setText(this.fields.value, key === null ? "–" : formatValue(maps.whole[key]) + suffix);
    setText(this.fields.rank, key === null ? "–" : `${rankOf(maps.whole, key)} of ${cells}`);
    setText(this.fields.discLabel, `Within ${this.discRadius} pixels of it`);
    const within = sumWithin(maps.whole, onto, this.cursor, this.discRadius) / (mean * cells);
    setText(this.fields.disc, spec.signed ? "none: no softmax" : `${(100 * within).toPrecision(3)} % of ${column ? "all looks here" : "the row"}`);
    if (column) {
      setText(this.fields.entropyLabel, "Looked at, on average");
      setText(this.fields.entropy, formatValue(mean) + suffix);
    } else {
      setText(this.fields.entropyLabel, "Entropy of this row");
      const bits = `${entropy.toFixed(2)} of ${Math.log2(cells).toFixed(2)} bits`;
      setText(this.fields.entropy, Number.isFinite(entropy) ? bits : "none: no softmax");
    }
    setText(this.fields.share, Number.isFinite(pairwiseShare) ? `${(100 * pairwiseShare).toFixed(0)} %` : column ? "none: of rows alone" : "none");
    this.announce(maps, onto);
  }

  /** What a query is called: its own name, or where it is. */
  nameOf({ points, name }) {
    if (name) return name;
    const { x, y } = middleOf(points);
    return `${points.length > 1 ? "region at " : ""}x ${Math.floor(x)}, y ${Math.floor(y)}`;
  }

  /** Where a query is; `short` without its pixel, for where that is its title. */
  placeOf(query, { short = false } = {}) {
    const { points } = query;
    if (points.length === 1) return this.describe(positionAt(points[0], this.queryGrid), this.queryGrid, { short });
    const maps = this.rows?.find((row) => row.query === query)?.maps[0];
    const cells = maps ?? { cells: 0, of: positionsOf(points, this.queryGrid).length };
    const mean = cells.of > cells.cells && cells.cells ? `mean of ${cells.cells} of its ${cells.of} cells` : `mean of ${cells.of} cells`;
    return short ? mean : `${this.nameOf({ points, name: "" })} · ${mean}`;
  }

  describe(position, grid, { short = false } = {}) {
    if (position === null) return "–";
    const { row, col } = cellOf(position, grid);
    const { x, y } = centerOf(position, grid);
    const { spec, arrays } = this.leading;
    const name = grid === spec.query_grid ? spec.classes[arrays.cell_classes?.[position]]?.name : null;
    const place = `${short ? "" : `x ${Math.floor(x)}, y ${Math.floor(y)} · `}row ${row}, column ${col}`;
    return name ? `${place} · ${name}` : place;
  }

  /** Tell screen readers, once the query has rested for a moment. */
  announce(maps, onto) {
    clearTimeout(this.announcing);
    this.announcing = setTimeout(() => {
      const { whole } = maps;
      const strongest = whole.indexOf(whole.reduce((most, value) => (value > most ? value : most), -Infinity));
      if (strongest < 0) return;
      const at = centerOf(strongest, onto);
      const column = this.settings.direction === "column";
      const unit = UNITS[this.leading.spec.signed ? "logit" : "uniform"];
      const number = this.queries.length > 1 ? ` ${this.active + 1}` : "";
      const said = (name) => this.fields[name].textContent;
      const share = column ? "" : ` Pairwise share ${said("share")}.`;
      const value = maps.whole[positionAt(this.cursor, onto)];
      const under =
        value === undefined
          ? ""
          : ` Under the cursor, ${said("cursor")}: ${formatValue(value)} ${unit.spoken}, rank ${said("rank")}; ` +
            `${said("discLabel").toLowerCase()}: ${said("disc")}.`;
      setText(
        this.status,
        `Query${number} ${this.placeOf(this.current)}. ${column ? "Strongest look comes from" : "Strongest key at"} ` +
          `x ${Math.floor(at.x)}, y ${Math.floor(at.y)}: ${formatValue(whole[strongest])} ${unit.spoken}. ` +
          `${said("entropyLabel")} ${said("entropy")}.${share}${under} ${this.cornerInWords()}`.trim(),
      );
    }, 500);
  }

  // -------------------------------------------------------------- queries

  /** Change the pinned queries, show them and tell the host. */
  change(queries, active, delay = 0) {
    this.queries = queries.slice(0, MOST_QUERIES);
    this.active = Math.max(0, Math.min(active, this.queries.length - 1));
    this.layOut();
    this.tell(delay);
  }

  /** Pin a query in place of the chosen one, or beside all others. */
  place(points, { add = false, delay = 0 } = {}) {
    if (points.length === 1) {
      // the middle of its cell, so that no rounding on the way to a host and back moves it to another
      const position = positionAt(points[0], this.queryGrid);
      if (position === null) return;
      points = [centerOf(position, this.queryGrid)];
    }
    const query = { points, name: "" };
    if (add || !this.queries.length) {
      if (this.queries.length >= MOST_QUERIES) {
        setText(this.status, `At most ${MOST_QUERIES} queries can be pinned.`);
        return;
      }
      this.change([...this.queries, query], this.queries.length, delay);
      return;
    }
    query.name = this.queries[this.active].name;
    const queries = this.queries.with?.(this.active, query) ?? this.queries.map((other, at) => (at === this.active ? query : other));
    this.change(queries, this.active, delay);
  }

  /** Pin a flat position of the leading record alone; null lets everything go. */
  pin(position, delay = 0) {
    if (position === null) this.change([], 0, delay);
    else this.change([{ points: [centerOf(position, this.queryGrid)], name: "" }], 0, delay);
  }

  clear() {
    this.corner = null;
    const query = this.queries[this.active];
    if (query) this.live = { points: [middleOf(query.points)] };
    this.change([], 0);
  }

  remove(index) {
    if (this.queries.length === 1) {
      this.clear();
      return;
    }
    this.change(this.queries.filter((_, at) => at !== index), index < this.active ? this.active - 1 : this.active);
  }

  move(index, step) {
    const to = index + step;
    if (to < 0 || to >= this.queries.length) return;
    const queries = [...this.queries];
    [queries[index], queries[to]] = [queries[to], queries[index]];
    this.change(queries, to);
  }

  rename(query, name) {
    const index = this.queries.indexOf(query);
    if (index < 0) return;
    query.name = name.trim().slice(0, 40);
    this.change(this.queries, this.active);
  }

  activate(index) {
    if (index >= this.queries.length) return;
    this.active = index;
    this.cursor = middleOf(this.queries[index].points);
    this.layOut();
    this.tell(300);
  }

  pinMostDifferent() {
    const pair = this.leading.attention.mostDifferent();
    if (!pair) {
      setText(this.status, "There are not two queries that attend to anything.");
      return;
    }
    this.change(pair.map((position) => ({ points: [centerOf(position, this.leading.spec.query_grid)], name: "" })), 0);
  }

  pinGrid([rows, columns] = GRID_OF_QUERIES) {
    const { width, height } = this.config.image;
    const grid = this.queryGrid;
    const queries = Array.from({ length: rows * columns }, (_, index) => {
      const point = { x: ((index % columns) + 0.5) * (width / columns), y: (Math.floor(index / columns) + 0.5) * (height / rows) };
      return { points: [centerOf(positionAt(point, grid), grid)], name: "" };
    });
    this.change(queries, 0);
  }

  // -------------------------------------------------------------- zoom

  placeView() {
    const { zoom, left, top } = this.view;
    const style = this.stagesNode.style;
    style.setProperty("--zoom", zoom);
    style.setProperty("--left", `${-100 * left * zoom}%`);
    style.setProperty("--top", `${-100 * top * zoom}%`);
    this.stagesNode.classList.toggle("zoomed", zoom > 1);
  }

  setView(view) {
    this.view = view;
    this.placeView();
    this.drawMarks();
  }

  /** Zoom by a factor around the cursor; 0 shows the whole picture. */
  zoom(factor) {
    if (!factor) {
      this.setView(WHOLE_VIEW);
      return;
    }
    const { width, height } = this.config.image;
    const { zoom, left, top } = this.view;
    const share = (at, start) => Math.min(Math.max((at - start) * zoom, 0), 1);
    this.setView(zoomedView(this.view, factor, share(this.cursor.x / width, left), share(this.cursor.y / height, top)));
  }

  onWheel(event) {
    if (!event.ctrlKey) return; // the page scrolls as it always does
    const stage = event.target.closest?.(".stage");
    if (!stage) return;
    event.preventDefault();
    const box = stage.getBoundingClientRect();
    const factor = Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002));
    this.setView(zoomedView(this.view, factor, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height));
  }

  // -------------------------------------------------------------- pointer

  pointOf(event, stage) {
    const box = stage.getBoundingClientRect();
    const { width, height } = this.config.image;
    const { zoom, left, top } = this.view;
    const inside = (value, limit) => Math.min(Math.max(value, 0), limit - 1e-6);
    return {
      x: inside(((event.clientX - box.left) / box.width / zoom + left) * width, width),
      y: inside(((event.clientY - box.top) / box.height / zoom + top) * height, height),
    };
  }

  onMove(event, stage) {
    if (this.drag && this.dragTo(event, stage)) return;
    this.cursor = this.pointOf(event, stage);
    if (this.queries.length) {
      this.drawMarks();
      this.read();
      return;
    }
    const position = positionAt(this.cursor, this.queryGrid);
    if (position !== null && position !== this.positionOf(this.live)) this.look(position);
    else this.read();
  }

  onPress(event, stage) {
    this.dragged = false;
    const middle = event.button === 1;
    if (event.button !== 0 && !middle) return;
    this.stagesNode.classList.add("by-pointer"); // no focus ring until the keyboard is used
    this.stagesNode.focus({ preventScroll: true });
    const touch = event.pointerType === "touch";
    if (touch) {
      this.pressing = setTimeout(() => {
        this.dragged = true; // the click that follows is not another pin
        this.place([this.pointOf(event, stage)], { add: true });
      }, LONG_PRESS_MS);
    }
    if (touch && this.settings.tool === "rectangle") return; // a finger that drags scrolls the page
    if (middle) event.preventDefault();
    const kind = middle ? "pan" : event.altKey ? "lasso" : this.settings.tool;
    this.drag = { kind, from: this.pointOf(event, stage), at: [event.clientX, event.clientY], view: this.view, id: event.pointerId };
  }

  /** Go on dragging; return whether this is a drag by now. */
  dragTo(event, stage) {
    const { drag } = this;
    const [right, down] = [event.clientX - drag.at[0], event.clientY - drag.at[1]];
    if (!this.dragged) {
      if (Math.hypot(right, down) < DRAG_PIXELS) return false;
      clearTimeout(this.pressing);
      this.dragged = true;
      if (event.isTrusted) stage.setPointerCapture(drag.id);
    }
    if (drag.kind === "pan") {
      const { zoom, left, top } = drag.view;
      const { width, height } = this.stageSize;
      this.setView(clampedView({ zoom, left: left - right / width / zoom, top: top - down / height / zoom }));
      return true;
    }
    const point = this.pointOf(event, stage);
    if (drag.kind === "lasso") (drag.path ??= [drag.from]).push(point);
    else drag.path = [drag.from, point];
    this.drawMarks();
    return true;
  }

  onRelease(event) {
    clearTimeout(this.pressing);
    const { drag } = this;
    this.endDrag();
    if (!drag?.path) return;
    const points = drag.kind === "lasso" ? thinned(drag.path, LASSO_POINTS) : drag.path;
    if (drag.kind === "lasso" && points.length < 3) return;
    this.cursor = middleOf(points);
    this.place(points, { add: event.shiftKey });
  }

  endDrag() {
    clearTimeout(this.pressing);
    this.drag = null;
  }

  /** The browser took the pointer, for example to scroll: nothing is selected, nothing stays drawn. */
  cancelDrag() {
    this.endDrag();
    this.drawMarks();
  }

  onClick(event, stage) {
    if (this.dragged) {
      this.dragged = false;
      return;
    }
    this.cursor = this.pointOf(event, stage);
    if (positionAt(this.cursor, this.queryGrid) === null) return;
    const hit = this.queryAt(this.cursor);
    if (hit === this.active && this.queries.length) this.remove(hit);
    else if (hit !== null) this.activate(hit);
    else this.place([this.cursor], { add: event.shiftKey });
  }

  /** Return the index of the pinned query under a point: in its cell, or within its ring. */
  queryAt(point) {
    const project = this.projection();
    const here = project(point);
    const grid = this.queryGrid;
    for (const [index, { points }] of this.queries.entries()) {
      if (points.length > 1) continue;
      if (positionAt(points[0], grid) === positionAt(point, grid)) return index;
    }
    if (this.queries.length < 2) return null;
    const distances = this.queries.map(({ points }) => {
      const at = project(points[0]);
      return points.length > 1 ? Infinity : Math.hypot(at.x - here.x, at.y - here.y);
    });
    const nearest = distances.indexOf(Math.min(...distances));
    return distances[nearest] <= RING ? nearest : null;
  }

  // -------------------------------------------------------------- keyboard

  /** Keys pressed in the viewer are the viewer's: hosts bind single letters on the whole page. */
  keepKey(event) {
    if (!event.ctrlKey && !event.metaKey && event.key !== "Tab") event.stopPropagation();
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.key === "Tab") return;
    this.stagesNode.classList.remove("by-pointer");
    if (this.pressed(event)) event.preventDefault();
  }

  /** Do what a key stands for; return whether it stands for anything. */
  pressed({ key, shiftKey }) {
    const { settings } = this;
    const letter = key.length === 1 ? key.toLowerCase() : key;
    if (key in STEPS) this.step(STEPS[key], shiftKey ? 5 : 1);
    else if (key === "Enter" && shiftKey) this.place([this.cursor], { add: true });
    else if (key === "Enter" || key === " ") {
      if (this.queries.length) this.remove(this.active);
      else this.place(this.live.points);
    } else if (key === "Escape") this.clear();
    else if (letter === "r") this.markCorner();
    else if (key === "Delete") this.queries.length && this.remove(this.active);
    else if (/^[1-9]$/.test(key)) this.activate(Number(key) - 1);
    else if (key === "[") this.move(this.active, -1);
    else if (key === "]") this.move(this.active, 1);
    else if (key === "?") this.showHelp();
    else if (key === "+" || key === "=") this.zoom(1.5);
    else if (key === "-") this.zoom(1 / 1.5);
    else if (key === "Backspace") this.zoom(0);
    else if (letter === "o") this.toggleMaps();
    else if (letter === "d") this.toggleDirection();
    else if (letter === "a") this.set("arrows", !settings.arrows);
    else if (letter === "b") this.set("boxes", !settings.boxes);
    else if (letter === "c") this.set("contours", !settings.contours);
    else if (letter === "n" && this.queries.length > 1) {
      rename(this, this.listNode.querySelector("li.active"), this.queries[this.active]);
    } else return false;
    return true;
  }

  /** Move the query by some cells and pin it. */
  step([down, right], times) {
    const { width, height } = this.queryGrid;
    const { row, col } = cellOf(this.positionOf(this.current) ?? 0, this.queryGrid);
    const clamp = (value, limit) => Math.min(Math.max(value, 0), limit - 1);
    const position = clamp(row + down * times, height) * width + clamp(col + right * times, width);
    this.cursor = centerOf(position, this.queryGrid);
    const { image } = this.config;
    if (this.view.zoom > 1) {
      this.view = viewShowing(this.view, this.cursor.x / image.width, this.cursor.y / image.height);
    }
    this.live = { points: [this.cursor] };
    if (this.queries.length) {
      // painted without a new layout: keys repeat quickly
      this.queries[this.active] = { points: [this.cursor], name: this.queries[this.active].name };
      this.placeView();
      this.refresh();
      this.listQueries();
      this.tell(300);
    } else this.place([this.cursor], { delay: 300 });
  }

  /** Take the cursor's cell as the corner of a region; the next time, pin all cells from there to here. */
  markCorner() {
    const points = this.corner && cornersOf([this.corner, this.cursor], this.queryGrid);
    this.corner = points ? null : this.cursor;
    if (points) this.place(points);
    else {
      this.drawMarks();
      setText(this.status, this.cornerInWords());
    }
  }

  cornerInWords() {
    if (!this.corner) return "";
    const [x, y] = [this.corner.x, this.corner.y].map(Math.floor);
    return `A region begins at x ${x}, y ${y}: move, and R takes all from there to here.`;
  }

  toggleMaps() {
    const { opacity } = this.settings;
    if (opacity > 0) this.lastOpacity = opacity;
    this.set("opacity", opacity > 0 ? 0 : this.lastOpacity ?? 0.75);
    this.opacityControl.value = this.settings.opacity;
  }

  toggleDirection() {
    this.set("direction", this.settings.direction === "row" ? "column" : "row");
    this.directionControl.value = this.settings.direction;
  }

  showHelp() {
    this.help.showModal();
  }

  // -------------------------------------------------------------- taking away

  /** Return what the view shows, in words: networks, blocks, hashes, scale, version. */
  provenance() {
    const { settings, config } = this;
    const scale = { shared: "shared scale", "per-map": "each map rescaled to itself", log: "logarithmic scale", fixed: `fixed scale up to ${settings.fixed}` };
    const records = this.shown.map((index) => this.records[index].spec.about);
    const directions = { row: "where this pixel looks", column: "who looks here" };
    return [
      config.name ?? config.image.alt,
      ...records,
      `${directions[settings.direction]} · ${scale[settings.scale]} · ${settings.palette} · ${config.product}`,
    ];
  }

  stem() {
    return fileName([this.config.name ?? this.config.image.alt, ...this.shown.map((index) => this.records[index].title)].join(" "));
  }

  predictionOf() {
    return this.predictions[this.shown[0]];
  }

  async savePng() {
    const canvas = paintFigure(figureOf(this), this, Math.max(2, devicePixelRatio));
    const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
    download(`${this.stem()}.png`, blob, "image/png");
  }

  saveSvg() {
    download(`${this.stem()}.svg`, svgOf(figureOf(this), this), "image/svg+xml");
  }

  saveRecord(index) {
    const { title } = this.records[index];
    const bytes = recordBytes(this.records[index], this.config.product);
    download(`${fileName(`${title} ${this.records[index].spec.block}`)}.safetensors`, bytes, "application/octet-stream");
  }

  /** Whether the host brought the template of a page: an exported page has none, being one. */
  get canSavePage() {
    return typeof STANDALONE_PAGE === "string";
  }

  savePage() {
    const { query, ...view } = this.describeView();
    const page = fillPage(STANDALONE_PAGE, {
      title: this.config.name ?? this.config.image.alt,
      about: this.provenance(),
      view,
      payload: this.bytes,
    });
    download(`${this.stem()}.html`, page, "text/html");
  }

  async copyLink(button) {
    setText(button, "Copying…");
    this.tellNow();
    await this.addressWritten();
    const said = await copyText(location.href).then(() => "Link copied", () => "Copy the address above");
    setText(button, said);
    setTimeout(() => setText(button, "Copy link"), 2500);
  }

  /** Wait until the host has written what it was told: until the address has changed and then rests. */
  async addressWritten() {
    let address = location.href;
    let changedAt = null;
    while (Date.now() - this.toldAt < LINK_MS && (changedAt === null || Date.now() - changedAt < LINK_REST_MS)) {
      await new Promise((done) => setTimeout(done, 50));
      if (location.href !== address) [address, changedAt] = [location.href, Date.now()];
    }
  }

  destroy() {
    clearTimeout(this.telling);
    clearTimeout(this.announcing);
    clearTimeout(this.pressing);
    this.resized.disconnect();
    for (const url of this.urls ?? []) URL.revokeObjectURL(url);
    this.root.remove();
  }
}

const titleOf = ({ title, block, head }) => [title, block, head];

async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  throw new Error("no clipboard without https");
}

// ---------------------------------------------------------------- hosts

/** Mount on an element, or update what is mounted there; return what takes it away again. */
export function mount(host, bytes, onPick = () => {}) {
  const viewer = (host.nonlocalLens ??= new Viewer(host, onPick));
  viewer.onPick = onPick;
  viewer.show(bytes);
  return () => {
    viewer.destroy();
    delete host.nonlocalLens;
  };
}
