/**
 * The attention viewer: point at a picture, see where a non-local block looks from there.
 *
 * One module for every host. It is given one safetensors buffer (see payload.py) and answers every
 * movement of the mouse from the queries and keys in it; nobody is asked. The host hears of pinned
 * queries only. The file reads from the pure parts (buffer, geometry, attention, color) to the page.
 */

// ---------------------------------------------------------------- buffer

const HALF = (() => {
  let table;
  return () => {
    if (table) return table;
    table = new Float32Array(65536);
    for (let bits = 0; bits < 65536; bits++) {
      const exponent = (bits >> 10) & 31;
      const fraction = bits & 1023;
      const magnitude =
        exponent === 0 ? fraction * 2 ** -24
        : exponent === 31 ? (fraction ? NaN : Infinity)
        : (1 + fraction / 1024) * 2 ** (exponent - 15);
      table[bits] = bits & 0x8000 ? -magnitude : magnitude;
    }
    return table;
  };
})();

const DECODERS = {
  U8: (buffer) => new Uint8Array(buffer),
  F32: (buffer) => new Float32Array(buffer),
  F16: (buffer) => {
    const table = HALF();
    return Float32Array.from(new Uint16Array(buffer), (bits) => table[bits]);
  },
};

/** Return only the configuration of a payload: cheap, to see whether it is a new one. */
export function parseConfig(bytes) {
  const { header } = readHeader(bytes);
  return JSON.parse(header.__metadata__.config);
}

/** Return { config, tensors }: every tensor as a typed array of its own, halves widened. */
export function parse(bytes) {
  const { header, start } = readHeader(bytes);
  const { __metadata__: metadata, ...entries } = header;
  const tensors = {};
  for (const [name, { dtype, data_offsets: [from, to] }] of Object.entries(entries)) {
    // sliced, because a typed array must begin at a multiple of its element size
    const begin = bytes.byteOffset + start;
    tensors[name] = DECODERS[dtype](bytes.buffer.slice(begin + from, begin + to));
  }
  return { config: JSON.parse(metadata.config), tensors };
}

function readHeader(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = Number(view.getBigUint64(0, true));
  const text = new TextDecoder().decode(new Uint8Array(bytes.buffer, bytes.byteOffset + 8, length));
  return { header: JSON.parse(text), start: 8 + length };
}

// ---------------------------------------------------------------- geometry

/** Return the flat position of the cell under an image point, or null beyond the last whole cell. */
export function positionAt({ x, y }, grid) {
  const col = Math.floor(x / grid.cell_width);
  const row = Math.floor(y / grid.cell_height);
  const inside = row >= 0 && col >= 0 && row < grid.height && col < grid.width;
  return inside ? row * grid.width + col : null;
}

export function cellOf(position, grid) {
  return { row: Math.floor(position / grid.width), col: position % grid.width };
}

export function centerOf(position, grid) {
  const { row, col } = cellOf(position, grid);
  return { x: (col + 0.5) * grid.cell_width, y: (row + 0.5) * grid.cell_height };
}

// ---------------------------------------------------------------- attention

/** Write the pairwise logits of one query into `out`; query and key are whitened. */
export function pairwiseLogits({ query, key, channels, scale }, position, out) {
  const from = position * channels;
  const row = query.subarray(from, from + channels);
  for (let j = 0, at = 0; j < out.length; j++) {
    let sum = 0;
    for (let c = 0; c < channels; c++, at++) sum += row[c] * key[at];
    out[j] = sum * scale;
  }
}

/** Write what is left of the concatenation form's logits, ReLU(query + key), without their means. */
export function rectifiedPairwiseLogits({ query, key, row, unary }, position, out) {
  for (let j = 0; j < out.length; j++) {
    out[j] = Math.max(0, query[position] + key[j]) - row[position] - unary[j];
  }
}

/** Write softmax(logits) times the number of keys: multiples of uniform attention. */
export function softmaxInMultiplesOfUniform(logits, out) {
  let top = -Infinity;
  for (let j = 0; j < logits.length; j++) if (logits[j] > top) top = logits[j];
  let sum = 0;
  for (let j = 0; j < logits.length; j++) sum += out[j] = Math.exp(logits[j] - top);
  const factor = logits.length / sum;
  for (let j = 0; j < out.length; j++) out[j] *= factor;
}

/**
 * A record ready to answer: `mapsOf(position)` gives whole, pairwise and unary of one query.
 *
 * Maps are multiples of uniform. Without a softmax (unnormalized) they are logits of any sign, and
 * `row` holds what a query's own mean adds to them.
 */
export class Attention {
  constructor(spec, { query, key, unary, row }) {
    const keys = unary.length;
    this.spec = spec;
    this.projections = { query, key, unary, row, channels: key.length / keys, scale: spec.scale };
    this.logits = new Float32Array(keys);
    this.coupledLogits = new Float32Array(keys);
    this.maps = {
      whole: new Float32Array(keys),
      pairwise: new Float32Array(keys),
      unary: new Float32Array(keys),
    };
    if (spec.signed) this.maps.unary.set(unary);
    else softmaxInMultiplesOfUniform(unary, this.maps.unary);
    const mean = unary.reduce((sum, value) => sum + value, 0) / keys;
    this.unarySquares = unary.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  }

  mapsOf(position) {
    const { logits, coupledLogits, maps, projections } = this;
    const { unary, row } = projections;
    const write = this.spec.form === "concatenation" ? rectifiedPairwiseLogits : pairwiseLogits;
    write(projections, position, logits);
    if (this.spec.signed) {
      maps.pairwise.set(logits);
      for (let j = 0; j < logits.length; j++) maps.whole[j] = row[position] + unary[j] + logits[j];
      return maps;
    }
    softmaxInMultiplesOfUniform(logits, maps.pairwise);
    if (this.spec.coupling === "disentangled") {
      for (let j = 0; j < logits.length; j++) maps.whole[j] = maps.pairwise[j] + maps.unary[j];
    } else {
      for (let j = 0; j < logits.length; j++) coupledLogits[j] = logits[j] + unary[j];
      softmaxInMultiplesOfUniform(coupledLogits, maps.whole);
    }
    return maps;
  }

  /** Return entropy (bits; NaN where rows are no distributions) of the current row and the pairwise term's share of its logits. */
  rowStatistics() {
    const { logits, maps: { whole }, spec } = this;
    const total = (spec.row_sum ?? NaN) * whole.length;
    let entropy = 0;
    let squares = 0;
    for (let j = 0; j < whole.length; j++) {
      const p = whole[j] / total;
      if (p !== 0) entropy -= p * Math.log2(p);
      squares += logits[j] ** 2;
    }
    return { entropy, pairwiseShare: squares / (squares + this.unarySquares) };
  }
}

/** Return how many values are greater than the one at `index`, plus one. */
export function rankOf(values, index) {
  let rank = 1;
  for (let j = 0; j < values.length; j++) if (values[j] > values[index]) rank++;
  return rank;
}

// ---------------------------------------------------------------- color

const LOG_FLOOR = 0.01; // multiples of uniform; lower values share the lowest color of the log scale

/** Return { low, high, log }: what the two ends of the color bar stand for; 0 is the middle of signed. */
export function rangeOf(values, mode, { scale_top: top, peak, signed }) {
  if (signed) {
    const high = mode === "per-map" ? values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) : top;
    return { low: -(high || 1e-6), high: high || 1e-6, log: false };
  }
  if (mode === "log") return { low: LOG_FLOOR, high: Math.max(peak, 10), log: true };
  if (mode === "shared") return { low: 0, high: top, log: false };
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return { low, high: high > low ? high : low + 1e-6, log: false };
}

/** Return the place of a value on a color bar, 0 to 1 and beyond. */
export function levelOf(value, { low, high, log }) {
  return log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
}

const NOT_A_NUMBER = 0xffff00ff; // magenta (little-endian ABGR): in no palette, so NaN is visible

/** Paint values into RGBA pixels; return how many lie above the range, or below that of signed ones. */
export function colorize(values, range, palette, pixels) {
  const { low, high, log } = range;
  const factor = 255 / (log ? Math.log(high / low) : high - low);
  let clipped = 0;
  for (let j = 0; j < values.length; j++) {
    const value = values[j];
    if (value !== value) {
      pixels[j] = NOT_A_NUMBER;
      continue;
    }
    if (value > high || (low < 0 && value < low)) clipped++;
    const level = (log ? Math.log(value / low) : value - low) * factor;
    pixels[j] = palette[level <= 0 ? 0 : level >= 255 ? 255 : (level + 0.5) | 0];
  }
  return clipped;
}

/** Return the 256 colors of a palette as opaque little-endian ABGR words. */
export function paletteWords(rgb, index) {
  const words = new Uint32Array(256);
  for (let level = 0; level < 256; level++) {
    const at = (index * 256 + level) * 3;
    words[level] = (255 << 24) | (rgb[at + 2] << 16) | (rgb[at + 1] << 8) | rgb[at];
  }
  return words;
}

/** Return a number of about three digits: 0.0123, 1.23, 12.3, 1230. */
export function formatValue(value) {
  if (!Number.isFinite(value)) return String(value);
  if (value !== 0 && Math.abs(value) < 1e-4) return value.toExponential(2);
  return Math.abs(value) >= 1000 ? String(Math.round(value)) : String(+value.toPrecision(3));
}

// ---------------------------------------------------------------- page

const TERMS = ["whole", "pairwise", "unary"];

const TITLES = { whole: "Whole attention", pairwise: "Pairwise term", unary: "Unary term" };

const WHOLE_SUBTITLES = {
  coupled: "softmax(pairwise + unary)",
  disentangled: "pairwise + unary: rows sum to 2",
  pairwise: "softmax(pairwise): there is no unary term",
  unary: "softmax(unary): the same for every query",
  unnormalized: "no softmax: the logits themselves",
};

/** Return what stands under the title of each map: what it is, and what it does not depend on. */
export function subtitlesOf({ coupling, learned }) {
  return {
    whole: WHOLE_SUBTITLES[coupling],
    pairwise: coupling === "unary" ? "none, so uniform: no query takes part" : "what depends on the query",
    unary:
      coupling === "pairwise" ? "none, so uniform: whitening takes it out"
      : learned ? "learned, the same for every query"
      : "the same for every query",
  };
}

const SCALES = {
  shared: "Shared scale",
  "per-map": "Per map (rescaled)",
  log: "Shared, logarithmic",
};

const BADGES = { shared: "", "per-map": "rescaled to this map alone", log: "log scale" };

/** How numbers are written: multiples of uniform, or logits. */
const UNITS = {
  uniform: { name: "multiples of uniform", suffix: "×", spoken: "times uniform" },
  logit: { name: "logits, of any sign", suffix: "", spoken: "as a logit" },
};

const STEPS = {
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
};

/** Choices outlive the picture they were made on. */
const settings = {
  palette: "viridis",
  signedPalette: "RdBu_r",
  scale: "shared",
  opacity: 0.75,
  smooth: false,
  prediction: false,
};

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value;
    else if (name === "style") node.style.cssText = value; // as an attribute, strict policies bar it
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function setText(node, text) {
  if (node.firstChild?.data !== text) node.textContent = text;
}

class Viewer {
  constructor(host, onPick) {
    this.onPick = onPick;
    this.root = element("div", { class: "lens" });
    host.append(this.root);
  }

  /** Show a payload; the pinned query and the settings stay where they still make sense. */
  show(bytes) {
    const config = parseConfig(bytes);
    if (config.id === this.config?.id) return;
    const before = this.config;
    const { tensors } = parse(bytes);
    this.config = config;
    const spec = config.records[0];
    this.attention = new Attention(spec, {
      query: tensors["0.query"],
      key: tensors["0.key"],
      unary: tensors["0.unary"],
      row: tensors["0.row"],
    });
    this.unit = UNITS[spec.signed ? "logit" : "uniform"];
    this.paletteSetting = spec.signed ? "signedPalette" : "palette";
    this.tensors = tensors;
    this.queryGrid = spec.query_grid;
    this.keyGrid = spec.key_grid;
    this.palettes = config.palettes.map((_, index) => paletteWords(tensors.palettes, index));

    const sameGrid =
      before?.image.id === config.image.id &&
      before.records[0].query_grid.width === this.queryGrid.width &&
      before.records[0].query_grid.height === this.queryGrid.height;
    if (!sameGrid) {
      this.pinned = null;
      this.query =
        Math.floor(this.queryGrid.height / 2) * this.queryGrid.width + Math.floor(this.queryGrid.width / 2);
      this.cursor = centerOf(this.query, this.queryGrid);
    }
    this.build();
    this.look(this.query);
  }

  // -------------------------------------------------------------- building

  build() {
    for (const url of this.urls ?? []) URL.revokeObjectURL(url);
    this.urls = [];
    const { width, height, alt } = this.config.image;
    const photo = this.blobUrl(this.tensors.image, this.config.image.type);
    this.panels = {};
    const photoPanel = this.buildPanel("photo", "Photo", "", photo, alt);
    photoPanel.legend = this.buildPrediction(photoPanel);
    const subtitles = subtitlesOf(this.attention.spec);
    for (const term of TERMS) this.buildMap(this.buildPanel(term, TITLES[term], subtitles[term], photo, ""));

    this.status = element("div", { class: "announcement", role: "status", "aria-live": "polite" });
    this.fields = {};
    this.stagesNode = element(
      "div",
      {
        class: "panels",
        tabindex: "0",
        role: "application",
        "aria-roledescription": "attention viewer",
        "aria-label":
          `Attention of ${this.config.title}. Arrow keys move the query, Enter pins it, Escape clears it.`,
        style: `--aspect: ${width / height}`,
        onkeydown: (event) => this.onKey(event),
      },
      ...Object.values(this.panels).map((panel) => panel.node),
    );
    const hadFocus = this.root.contains(this.root.getRootNode().activeElement);
    this.root.replaceChildren(this.buildToolbar(), this.stagesNode, this.buildReadout(), this.status);
    if (hadFocus) this.stagesNode.focus({ preventScroll: true });
    this.applySettings();
  }

  blobUrl(bytes, type) {
    const url = URL.createObjectURL(new Blob([bytes], { type }));
    this.urls.push(url);
    return url;
  }

  buildPanel(name, title, subtitle, photo, alt) {
    const image = element("img", { src: photo, alt, draggable: "false" });
    const stage = element(
      "div",
      {
        class: "stage",
        onpointermove: (event) => this.onHover(event, stage),
        onpointerdown: (event) => this.onPress(event),
        onclick: (event) => this.onClick(event, stage),
      },
      image,
    );
    const value = element("output", { class: "value", "data-value": name });
    const node = element(
      "figure",
      { class: `panel ${name}`, "data-panel": name },
      element(
        "figcaption",
        {},
        element("span", { class: "title" }, title),
        element("span", { class: "subtitle" }, subtitle),
        value,
      ),
      stage,
    );
    const panel = { name, node, stage, value };
    this.panels[name] = panel;
    stage.append(
      element("div", { class: "query-cell" }),
      element("div", { class: "query-mark" }),
      element("div", { class: "cursor-mark" }),
    );
    return panel;
  }

  buildMap(panel) {
    const { width, height, cell_width: cellWidth, cell_height: cellHeight } = this.keyGrid;
    const { width: imageWidth, height: imageHeight } = this.config.image;
    panel.canvas = element("canvas", {
      class: "map",
      width,
      height,
      role: "img",
      "aria-label": TITLES[panel.name],
      style:
        `width: ${(100 * width * cellWidth) / imageWidth}%;` +
        `height: ${(100 * height * cellHeight) / imageHeight}%`,
    });
    panel.stage.firstChild.after(panel.canvas);
    panel.context = panel.canvas.getContext("2d");
    panel.pixels = panel.context.createImageData(width, height);
    panel.words = new Uint32Array(panel.pixels.data.buffer);

    panel.bar = element("canvas", { class: "bar", width: 256, height: 1, "aria-hidden": "true" });
    panel.ticks = element("div", { class: "ticks" });
    panel.ends = [element("span", { class: "above" })];
    if (this.attention.spec.signed) panel.ends.push(element("span", { class: "below" }));
    panel.badge = element("span", { class: "badge" });
    panel.node.append(
      element(
        "div",
        { class: "scale" },
        element("div", { class: "bar-box" }, panel.bar, ...panel.ends),
        panel.ticks,
        element("div", { class: "unit" }, element("span", {}, this.unit.name), panel.badge),
      ),
    );
  }

  buildPrediction(panel) {
    const url = this.tensors.prediction && this.blobUrl(this.tensors.prediction, "image/png");
    if (!url) return null;
    panel.prediction = element("img", { class: "prediction", src: url, alt: "Predicted segmentation" });
    panel.stage.firstChild.after(panel.prediction);
    const legend = element(
      "ul",
      { class: "legend", "aria-label": "Predicted classes" },
      ...this.config.classes.map(({ name, color, share }) =>
        element(
          "li",
          { class: share > 0 ? "" : "absent", title: `${(100 * share).toFixed(1)} % of the pixels` },
          element("i", { style: `background: rgb(${color.join(",")})` }),
          name,
        ),
      ),
    );
    panel.node.append(legend);
    return legend;
  }

  buildToolbar() {
    const select = (label, setting, options) => {
      const node = element(
        "select",
        { onchange: () => this.set(setting, node.value) },
        ...Object.entries(options).map(([value, text]) => element("option", { value }, text)),
      );
      node.value = settings[setting];
      if (node.selectedIndex < 0) node.selectedIndex = 0; // chosen for a record that offers more
      return element("label", {}, element("span", {}, label), node);
    };
    const palettes = Object.fromEntries(this.config.palettes.map((name) => [name, name]));
    const { log, ...scales } = SCALES;
    if (!this.attention.spec.signed) scales.log = log;
    const opacity = element("input", {
      type: "range",
      min: "0",
      max: "1",
      step: "0.05",
      value: settings.opacity,
      oninput: () => this.set("opacity", Number(opacity.value)),
    });
    const check = (label, setting, title) => {
      const node = element("input", { type: "checkbox", onchange: () => this.set(setting, node.checked) });
      node.checked = settings[setting];
      return element("label", { title }, node, element("span", {}, label));
    };
    const toolbar = element(
      "div",
      { class: "toolbar", role: "toolbar", "aria-label": "How maps are drawn" },
      select("Colors", this.paletteSetting, palettes),
      select("Scale", "scale", scales),
      element("label", { title: "Opacity of the maps over the photo" }, element("span", {}, "Opacity"), opacity),
      check("Smooth", "smooth", "Bilinear instead of nearest: pretty, but a cell is the truth"),
    );
    if (this.tensors.prediction) {
      toolbar.append(check("Prediction", "prediction", "Lay the predicted segmentation over the photo"));
    }
    return toolbar;
  }

  buildReadout() {
    const field = (name, label) => {
      this.fields[name] = element("dd", { "data-field": name });
      return element("div", {}, element("dt", {}, label), this.fields[name]);
    };
    return element(
      "dl",
      { class: "readout" },
      field("query", "Query"),
      field("cursor", "Under the cursor"),
      field("rank", "Rank there"),
      field("entropy", "Entropy of this row"),
      field("share", "Pairwise share of this row"),
    );
  }

  // -------------------------------------------------------------- painting

  set(setting, value) {
    settings[setting] = value;
    this.applySettings();
    this.paint();
  }

  applySettings() {
    this.root.style.setProperty("--opacity", settings.opacity);
    this.root.classList.toggle("smooth", settings.smooth);
    this.root.classList.toggle("predicting", settings.prediction && Boolean(this.tensors.prediction));
    this.words = this.palettes[this.config.palettes.indexOf(settings[this.paletteSetting])];
    for (const term of TERMS) {
      const context = this.panels[term].bar.getContext("2d");
      const pixels = context.createImageData(256, 1);
      new Uint32Array(pixels.data.buffer).set(this.words);
      context.putImageData(pixels, 0, 0);
    }
  }

  /** Make a position the query and show its maps. */
  look(position) {
    this.query = position;
    this.maps = this.attention.mapsOf(position);
    this.paint();
  }

  paint() {
    for (const term of TERMS) {
      const panel = this.panels[term];
      const range = rangeOf(this.maps[term], settings.scale, this.attention.spec);
      const clipped = colorize(this.maps[term], range, this.words, panel.words);
      panel.context.putImageData(panel.pixels, 0, 0);
      this.label(panel, range, clipped);
    }
    this.mark();
    this.read();
  }

  label(panel, range, clipped) {
    const { suffix } = this.unit;
    const middle = suffix ? 1 : 0;
    const ticks = range.log ? [0.01, 0.1, 1, 10, 100, 1000] : [range.low, middle, range.high];
    const places = ticks
      .map((value) => [value, levelOf(value, range)])
      .filter(([, level]) => level >= 0 && level <= 1)
      .filter(([value, level]) => value !== middle || range.log || (level > 0.08 && level < 0.9));
    const key = places.map(([value, level]) => `${formatValue(value)}@${level.toFixed(3)}`).join();
    if (panel.ticks.dataset.key !== key) {
      panel.ticks.dataset.key = key;
      panel.ticks.replaceChildren(
        ...places.map(([value, level]) =>
          element(
            "span",
            { style: `left: ${100 * level}%; transform: translateX(${-100 * level}%)` },
            formatValue(value) + (suffix && value === 1 ? " uniform" : suffix),
          ),
        ),
      );
    }
    panel.node.classList.toggle("clipping", clipped > 0);
    const beyond = suffix ? `above ${formatValue(range.high)}${suffix}` : `beyond ±${formatValue(range.high)}`;
    const scale = suffix || settings.scale !== "log" ? settings.scale : "shared";
    setText(panel.badge, clipped ? `${clipped} cells ${beyond}` : BADGES[scale]);
  }

  mark() {
    const { width, height } = this.config.image;
    const grid = this.queryGrid;
    const { row, col } = cellOf(this.query, grid);
    const percent = (value, whole) => `${(100 * value) / whole}%`;
    const style = this.stagesNode.style;
    style.setProperty("--left", percent(col * grid.cell_width, width));
    style.setProperty("--top", percent(row * grid.cell_height, height));
    style.setProperty("--width", percent(grid.cell_width, width));
    style.setProperty("--height", percent(grid.cell_height, height));
    style.setProperty("--x", percent((col + 0.5) * grid.cell_width, width));
    style.setProperty("--y", percent((row + 0.5) * grid.cell_height, height));
    style.setProperty("--cursor-x", percent(this.cursor.x, width));
    style.setProperty("--cursor-y", percent(this.cursor.y, height));
    this.stagesNode.classList.toggle("pinned", this.pinned !== null);
  }

  read() {
    const key = positionAt(this.cursor, this.keyGrid);
    for (const term of TERMS) {
      const value = key === null ? NaN : this.maps[term][key];
      setText(this.panels[term].value, key === null ? "–" : formatValue(value) + this.unit.suffix);
      this.panels[term].value.dataset.exact = value;
    }
    const { entropy, pairwiseShare } = this.attention.rowStatistics();
    const keys = this.maps.whole.length;
    setText(this.panels.photo.value, this.pinned === null ? "hovering: click to pin" : "pinned: Esc clears");
    setText(this.fields.query, this.describe(this.query));
    setText(
      this.fields.cursor,
      this.pinned === null ? "the query itself" : this.describe(positionAt(this.cursor, this.queryGrid)),
    );
    setText(this.fields.rank, key === null ? "–" : `${rankOf(this.maps.whole, key)} of ${keys}`);
    const bits = `${entropy.toFixed(2)} of ${Math.log2(keys).toFixed(2)} bits`;
    setText(this.fields.entropy, Number.isFinite(entropy) ? bits : "none: no softmax");
    setText(this.fields.share, Number.isFinite(pairwiseShare) ? `${(100 * pairwiseShare).toFixed(0)} %` : "–");
    this.announce();
  }

  describe(position) {
    if (position === null) return "–";
    const { row, col } = cellOf(position, this.queryGrid);
    const { x, y } = centerOf(position, this.queryGrid);
    const name = this.config.classes[this.tensors.cell_classes?.[position]]?.name;
    const place = `x ${Math.floor(x)}, y ${Math.floor(y)} · row ${row}, column ${col}`;
    return name ? `${place} · ${name}` : place;
  }

  /** Tell screen readers, once the query has rested for a moment. */
  announce() {
    clearTimeout(this.announcing);
    this.announcing = setTimeout(() => {
      const { whole } = this.maps;
      const strongest = whole.indexOf(Math.max(...whole));
      const at = centerOf(strongest, this.keyGrid);
      setText(
        this.status,
        `Query ${this.describe(this.query)}. Strongest key at x ${Math.floor(at.x)}, y ${Math.floor(at.y)}: ` +
          `${formatValue(whole[strongest])} ${this.unit.spoken}. Entropy ${this.fields.entropy.textContent}.`,
      );
    }, 500);
  }

  // -------------------------------------------------------------- input

  pointOf(event, stage) {
    const box = stage.getBoundingClientRect();
    const { width, height } = this.config.image;
    const inside = (value, limit) => Math.min(Math.max(value, 0), limit - 1e-6);
    return {
      x: inside(((event.clientX - box.left) / box.width) * width, width),
      y: inside(((event.clientY - box.top) / box.height) * height, height),
    };
  }

  onHover(event, stage) {
    this.cursor = this.pointOf(event, stage);
    if (this.pinned !== null) {
      this.mark();
      this.read();
      return;
    }
    const position = positionAt(this.cursor, this.queryGrid);
    if (position !== null && position !== this.query) this.look(position);
    else this.read();
  }

  onPress(event) {
    if (event.button !== 0) return;
    this.stagesNode.classList.add("by-pointer"); // no focus ring until the keyboard is used
    this.stagesNode.focus({ preventScroll: true });
  }

  onClick(event, stage) {
    this.cursor = this.pointOf(event, stage);
    const position = positionAt(this.cursor, this.queryGrid);
    if (position === null) return;
    this.pin(position === this.pinned ? null : position);
    this.look(position);
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.key === "Tab") return;
    this.stagesNode.classList.remove("by-pointer");
    event.stopPropagation(); // the host binds single letters on the whole page
    const { width, height } = this.queryGrid;
    if (event.key in STEPS) {
      const [down, right] = STEPS[event.key];
      const step = event.shiftKey ? 5 : 1;
      const { row, col } = cellOf(this.query, this.queryGrid);
      const clamp = (value, limit) => Math.min(Math.max(value, 0), limit - 1);
      const position = clamp(row + down * step, height) * width + clamp(col + right * step, width);
      this.cursor = centerOf(position, this.queryGrid);
      this.pin(position, 300);
      this.look(position);
    } else if (event.key === "Enter" || event.key === " ") {
      this.pin(this.pinned === null ? this.query : null);
      this.paint();
    } else if (event.key === "Escape") {
      this.pin(null);
      this.paint();
    } else return;
    event.preventDefault();
  }

  /** Pin a query (or none) and tell the host, after `delay` ms in which nothing else is pinned. */
  pin(position, delay = 0) {
    if (position === this.pinned) return;
    this.pinned = position;
    clearTimeout(this.telling);
    this.telling = setTimeout(() => this.onPick(position), delay);
  }

  destroy() {
    clearTimeout(this.telling);
    clearTimeout(this.announcing);
    for (const url of this.urls ?? []) URL.revokeObjectURL(url);
    this.root.remove();
  }
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

/** Streamlit's components v2 call this again on every change of data or theme. */
export default function (component) {
  const { parentElement, data, setStateValue } = component;
  return mount(parentElement, data, (position) => setStateValue("query", position));
}
