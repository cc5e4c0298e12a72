/** Many pictures at a glance: charts and a table with thumbnails, of which one picks pictures. */

import { button, element } from "../../viewer/elements.js";
import { buildPlot, shortNumber, withRoom } from "./dots.js";

const BOARDS = new WeakMap();
const NARROW = 720; // pixels, below which charts stand one above the other
const ROW = 62; // height of a network's dots, pixels

/** Return the numbers of a picture by network: Map of item -> row by series. */
function byPicture(rows) {
  const found = new Map();
  for (const row of rows) {
    if (!found.has(row.item)) found.set(row.item, []);
    found.get(row.item)[row.series] = row;
  }
  return found;
}

class Board {
  constructor(parent) {
    this.node = element("div", { class: "board" });
    this.tip = element("div", { class: "tip", "aria-hidden": "true" });
    this.tip.hidden = true;
    parent.append(this.node);
    this.picked = new Set();
    this.pointed = null;
    this.sort = "";
    this.width = 0;
    this.seen = new ResizeObserver(([{ contentRect }]) => {
      if (Math.abs(contentRect.width - this.width) < 1) return;
      this.width = contentRect.width;
      if (this.data) this.render();
    });
    this.seen.observe(this.node);
  }

  show({ data, setStateValue, setTriggerValue }) {
    this.say = setStateValue;
    this.open = setTriggerValue;
    const { picked, sort, opening, ...rest } = data;
    if (opening !== this.opening) {
      this.opening = opening;
      this.picked = new Set(picked);
      this.sort = sort;
      this.shown = null;
    }
    const text = JSON.stringify(rest);
    if (text === this.shown) return;
    this.shown = text;
    this.data = data;
    this.width ||= this.node.getBoundingClientRect().width || 1100;
    this.render();
  }

  render() {
    const focused = this.node.getRootNode().activeElement?.dataset?.key;
    this.table = byPicture(this.data.rows);
    this.plots = this.charts();
    this.line = element("div", { class: "line" });
    this.body = element("tbody", {});
    this.node.replaceChildren(
      element("div", { class: "charts" }, ...this.plots.map(({ node }) => node)),
      this.line,
      element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Every picture" }, this.tableOf()),
      this.tip,
    );
    this.paint();
    if (focused) this.node.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  charts() {
    const { rows, series, known, means, difference } = this.data;
    const across = this.width < NARROW ? 1 : difference ? 3 : 2;
    const width = Math.floor((this.width - (across - 1) * 20) / across);
    const height = Math.max(240, 56 + ROW * series.length);
    const spread = (item) => 0.48 + 0.2 * (((item * 0.618034) % 1) - 0.5);
    const [label, bits] = [`${known.label}${known.unit ? ` (${known.unit})` : ""}`, "bits above uniform"];
    const common = {
      width,
      brushed: (items, how) => this.pick(items, how),
      hovered: (item, event) => this.point(item, event),
    };
    const said = (one) => `${one.name} ${shortNumber(one.mean)}`;
    const plots = [
      buildPlot({
        ...common,
        height,
        title: `${known.label}: a dot for every picture`,
        alt: `${known.label} by network. Means: ${means.map((mean, index) => said({ ...mean, name: series[index].name })).join(", ")}`,
        x: { domain: withRoom(rows.map(({ value }) => value)), label },
        rows: means.map((mean, index) => ({ ...series[index], ...mean })),
        dots: rows.map(({ item, series: one, value }) => ({ item, x: value ?? NaN, y: one + spread(item), color: series[one].color })),
        direction: { high: "more degenerate \u2192", low: "\u2190 more degenerate" }[known.degenerate] ?? "",
      }),
      buildPlot({
        ...common,
        height,
        title: "How selective, and does the query matter?",
        alt: `Query information above unary bits, a dot for every picture and network, in ${bits}`,
        x: { domain: withRoom(rows.map(({ unary }) => unary)), label: "the same from everywhere (bits)" },
        y: { domain: withRoom(rows.map(({ query }) => query)) },
        dots: rows.map(({ item, series: one, unary, query }) => ({ item, x: unary ?? NaN, y: query ?? NaN, color: series[one].color })),
        direction: "\u2191 by the query (bits)",
      }),
    ];
    if (difference) {
      const values = [...difference.values.map(([, value]) => value), difference.low, difference.high];
      plots.push(
        buildPlot({
          ...common,
          height,
          title: `${difference.name}, on the same picture`,
          alt: `Difference of ${known.label}: mean ${shortNumber(difference.mean, true)}`,
          x: { domain: withRoom(values), label: `difference of ${label}` },
          rows: [{ name: "mean and its 95 % interval", mean: difference.mean, low: difference.low ?? NaN, high: difference.high ?? NaN }],
          dots: difference.values.map(([item, value]) => ({ item, x: value, y: spread(item), color: difference.color })),
          zero: true,
        }),
      );
    }
    return plots;
  }

  tableOf() {
    const { series, known, difference } = this.data;
    const heads = [["name", "Picture"], ...series.map(({ name }, index) => [String(index), name])];
    if (difference) heads.push(["difference", "Difference"]);
    const [by, down] = this.sort.startsWith("-") ? [this.sort.slice(1), true] : [this.sort, false];
    const head = ([key, words], index) => {
      const order = key === by ? (down ? "descending" : "ascending") : "none";
      const color = series[index - 1]?.color;
      const mark = color ? element("i", { style: `background:${color}` }) : "";
      const sorter = button("", () => this.order(key), { "data-key": `sort ${key}`, title: "Sort by this column" });
      sorter.append(mark, words, element("span", { "aria-hidden": "true" }, { ascending: " \u25b2", descending: " \u25bc", none: "" }[order]));
      return element("th", { scope: "col", "aria-sort": order }, sorter);
    };
    this.fill(by, down);
    const caption = `${known.label}${known.unit ? `, ${known.unit}` : ""}; bars: bits the same from everywhere, and by the query`;
    return element(
      "table",
      {},
      element("caption", {}, caption),
      element("thead", {}, element("tr", {}, ...heads.map(head))),
      this.body,
    );
  }

  fill(by, down) {
    const { pictures, series, difference, top } = this.data;
    const gaps = new Map(difference?.values ?? []);
    const value = (item) => {
      if (by === "name") return pictures.findIndex(({ id }) => id === item);
      if (by === "difference") return gaps.get(item) ?? -Infinity;
      return by === "" ? 0 : (this.table.get(item)?.[+by]?.value ?? -Infinity);
    };
    const order = [...pictures].sort((one, other) => (value(one.id) - value(other.id)) * (down ? -1 : 1));
    const cell = (item, index) => {
      const row = this.table.get(item)?.[index];
      if (!row) return element("td", {}, "\u2026");
      const part = (bits, kind) => element("i", { class: kind, style: `width:${(100 * Math.max(0, bits ?? 0)) / top}%` });
      const title = row.query === null ? row.verdict : `${shortNumber(row.unary)} bits the same from everywhere, ${shortNumber(row.query)} by the query. ${row.verdict}`;
      return element(
        "td",
        { title },
        element("b", {}, shortNumber(row.value ?? NaN)),
        element("span", { class: "bits" }, part(row.unary, "same"), part(row.query, "query")),
      );
    };
    this.body.replaceChildren(
      ...order.map(({ id, name, image }) => {
        const picker = button("", () => this.pick([id], { more: true, toggle: true }), { class: "pick", "data-key": `pick ${id}` });
        picker.append(image ? element("img", { src: image, alt: "" }) : element("span", { class: "none" }), element("span", {}, name));
        const cells = [element("th", { scope: "row" }, picker), ...series.map((_, index) => cell(id, index))];
        if (difference) cells.push(element("td", {}, gaps.has(id) ? shortNumber(gaps.get(id), true) : "\u2026"));
        return element(
          "tr",
          { "data-item": id, onpointerenter: (event) => this.point(id, event), onpointerleave: (event) => this.point(null, event) },
          ...cells,
        );
      }),
    );
  }

  order(key) {
    this.sort = this.sort === key ? `-${key}` : key;
    this.say("sort", this.sort);
    this.render();
  }

  pick(items, { more, toggle }) {
    const next = new Set(more ? this.picked : []);
    for (const item of items) {
      if (toggle && this.picked.has(item)) next.delete(item);
      else next.add(item);
    }
    this.picked = next;
    this.say("picked", [...next]);
    this.paint();
  }

  point(item, event) {
    if (item !== this.pointed) {
      this.pointed = item;
      this.paint();
    }
    const picture = this.data.pictures.find(({ id }) => id === item);
    const onChart = event.currentTarget instanceof SVGElement;
    this.tip.hidden = !picture || !onChart;
    if (this.tip.hidden) return;
    const numbers = (this.table.get(item) ?? []).map((row) => `${this.data.series[row.series].name}: ${shortNumber(row.value ?? NaN)}`);
    this.tip.replaceChildren(
      ...(picture.image ? [element("img", { src: picture.image, alt: "" })] : []),
      element("b", {}, picture.name),
      ...numbers.map((words) => element("span", {}, words)),
    );
    const frame = this.node.getBoundingClientRect();
    this.tip.style.left = `${Math.min(event.clientX - frame.left + 14, frame.width - 190)}px`;
    this.tip.style.top = `${event.clientY - frame.top + 14}px`;
  }

  paint() {
    for (const plot of this.plots) plot.paint(this.picked, this.pointed);
    for (const row of this.body.rows) {
      const item = +row.dataset.item;
      row.classList.toggle("picked", this.picked.has(item));
      row.classList.toggle("pointed", item === this.pointed);
      row.querySelector(".pick").setAttribute("aria-pressed", String(this.picked.has(item)));
    }
    this.summarize();
  }

  summarize() {
    const { series, pictures, known } = this.data;
    const chosen = pictures.filter(({ id }) => this.picked.has(id));
    const state = chosen.map(({ id }) => id).join();
    if (this.summarized === state && this.line.childNodes.length) return;
    this.summarized = state;
    if (!chosen.length) {
      this.line.replaceChildren(element("span", {}, "Click dots or rows, or draw a rectangle over dots, to pick pictures: charts and table follow."));
      return;
    }
    const means = series.map(({ name }, index) => {
      const values = chosen.map(({ id }) => this.table.get(id)?.[index]?.value).filter(Number.isFinite);
      const mean = values.reduce((sum, one) => sum + one, 0) / values.length;
      return values.length ? `${name} ${shortNumber(mean)}` : "";
    });
    const words = `${chosen.length} of ${pictures.length} picked. ${known.label}, mean: ${means.filter(Boolean).join(", ")}${known.unit ? ` ${known.unit}` : ""}`;
    const clear = button("Clear", () => this.pick([], { more: false, toggle: false }), { "data-key": "clear" });
    const opens = chosen.length === 1
      ? series.map(({ name }, index) =>
          button(`Open in Explore: ${name}`, () => this.open("open", { item: chosen[0].id, series: index }), { "data-key": `open ${index}` }))
      : [];
    this.line.replaceChildren(element("span", { role: "status" }, words), clear, ...opens);
  }

  away() {
    this.seen.disconnect();
    this.node.remove();
  }
}

export default function (component) {
  const { parentElement } = component;
  if (!BOARDS.has(parentElement)) BOARDS.set(parentElement, new Board(parentElement));
  BOARDS.get(parentElement).show(component);
  return () => {
    BOARDS.get(parentElement)?.away();
    BOARDS.delete(parentElement);
  };
}
