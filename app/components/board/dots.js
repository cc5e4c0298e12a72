/** Charts of dots, one for every picture and network, that are brushed by one hand. */

import { drawn } from "../../viewer/charts.js";
import { element } from "../../viewer/elements.js";

const MARGIN = { left: 46, right: 14, top: 8, bottom: 40 };
const NEAR = 12; // pixels from a dot that a click still means

/** Return a number in about three digits, with a true minus sign. */
export function shortNumber(value, signed = false) {
  if (!Number.isFinite(value)) return "undefined";
  const text = Math.abs(value) < 5e-5 ? "0" : Math.abs(value) >= 1000 ? value.toFixed(0) : String(+value.toPrecision(3));
  return (signed && value > 0 ? "+" : "") + text.replace("-", "\u2212");
}

/** Return round values between two numbers, about five. */
export function roundTicks(low, high) {
  const rough = (high - low) / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, index) => (first + index) * step);
}

/** Return the least and the greatest of some numbers with some room, 0 among them. */
export function withRoom(values) {
  const known = values.filter(Number.isFinite);
  const low = Math.min(0, ...known);
  const high = Math.max(0, ...known);
  const room = (high - low || 1) * 0.06;
  return [low < 0 ? low - room : 0, high > 0 || low === 0 ? high + room : 0];
}

/**
 * Return a chart: { node, paint(picked, hovered) }.
 *
 * `dots` have `item` (the picture), `x`, `y` and `color`. Instead of numbers, `y` may run over
 * `rows`, each with a `name`, a `color` and the `mean`, `low` and `high` of its dots.
 */
export function buildPlot({ title, alt, width, height, x, y, rows = null, dots, zero = false, direction = "", brushed, hovered }) {
  const left = rows ? 14 : MARGIN.left;
  const inner = { width: width - left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
  const [lowX, highX] = x.domain;
  const [lowY, highY] = rows ? [rows.length, 0] : y.domain;
  const atX = (value) => left + ((value - lowX) / (highX - lowX || 1)) * inner.width;
  const atY = (value) => MARGIN.top + (1 - (value - lowY) / (highY - lowY || 1)) * inner.height;
  const parts = [];
  const line = (at, kind) => parts.push(drawn("line", { ...at, class: kind }));
  const text = (at, kind, words) => parts.push(drawn("text", { ...at, class: kind }, words));

  for (const tick of roundTicks(lowX, highX)) {
    line({ x1: atX(tick), x2: atX(tick), y1: MARGIN.top, y2: MARGIN.top + inner.height }, "rule");
    text({ x: atX(tick), y: MARGIN.top + inner.height + 14 }, "middle", shortNumber(tick));
  }
  if (!rows) {
    for (const tick of roundTicks(lowY, highY)) {
      line({ x1: left, x2: left + inner.width, y1: atY(tick), y2: atY(tick) }, "rule");
      text({ x: left - 6, y: atY(tick) + 4 }, "end", shortNumber(tick));
    }
  }
  if (zero) line({ x1: atX(0), x2: atX(0), y1: MARGIN.top, y2: MARGIN.top + inner.height }, "zero");
  text({ x: left, y: height - 6 }, "label", x.label);
  if (direction) text({ x: width - MARGIN.right, y: height - 6 }, "label end", direction);

  const placed = dots
    .filter((dot) => Number.isFinite(dot.x) && Number.isFinite(dot.y))
    .map((dot) => ({ ...dot, px: atX(dot.x), py: atY(dot.y) }));
  const circles = placed.map((dot) => drawn("circle", { cx: dot.px, cy: dot.py, r: 5, fill: dot.color, class: "dot" }));
  parts.push(...circles);
  for (const [index, row] of (rows ?? []).entries()) {
    text({ x: left, y: atY(index) + 12 }, "name", row.name);
    if (!Number.isFinite(row.mean)) continue;
    const middle = atY(index + 0.8);
    if (Number.isFinite(row.low)) {
      line({ x1: atX(row.low), x2: atX(row.high), y1: middle, y2: middle }, "interval");
    }
    line({ x1: atX(row.mean), x2: atX(row.mean), y1: middle - 8, y2: middle + 8 }, "mean");
  }
  const box = drawn("rect", { class: "brush", width: 0, height: 0 });
  const svg = drawn(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": alt },
    ...parts,
    box,
  );
  listen(svg, box, placed, brushed, hovered);
  return {
    node: element("figure", {}, element("figcaption", {}, title), svg),
    paint(picked, pointed) {
      for (const [index, dot] of placed.entries()) {
        const faded = picked.size > 0 && !picked.has(dot.item);
        const kind = `dot${faded ? " faded" : ""}${picked.has(dot.item) ? " picked" : ""}${dot.item === pointed ? " pointed" : ""}`;
        circles[index].setAttribute("class", kind);
      }
    },
  };
}

/** Let a hand pick dots: by a click, or by a rectangle that a mouse draws. */
function listen(svg, box, placed, brushed, hovered) {
  let start = null;
  const at = (event) => {
    const { left, top, width } = svg.getBoundingClientRect();
    const scale = svg.viewBox.baseVal.width / width;
    return { x: (event.clientX - left) * scale, y: (event.clientY - top) * scale };
  };
  const nearest = ({ x, y }) => {
    const far = placed.map((dot) => Math.hypot(dot.px - x, dot.py - y));
    const least = Math.min(...far);
    return least <= NEAR ? placed[far.indexOf(least)] : null;
  };
  const corners = (one, other) => ({
    x: Math.min(one.x, other.x),
    y: Math.min(one.y, other.y),
    width: Math.abs(one.x - other.x),
    height: Math.abs(one.y - other.y),
  });
  const show = (sides) => {
    for (const [name, value] of Object.entries(sides)) box.setAttribute(name, value);
  };
  svg.addEventListener("pointerdown", (event) => {
    start = { ...at(event), touch: event.pointerType === "touch" };
    if (!start.touch) svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    const here = at(event);
    if (start && !start.touch) show(corners(start, here));
    else hovered(nearest(here)?.item ?? null, event);
  });
  svg.addEventListener("pointerleave", (event) => hovered(null, event));
  svg.addEventListener("pointercancel", () => (start = null));
  svg.addEventListener("pointerup", (event) => {
    if (!start) return;
    const drag = corners(start, at(event));
    start = null;
    show({ width: 0, height: 0 });
    const more = event.shiftKey || event.ctrlKey || event.metaKey;
    if (drag.width < 5 && drag.height < 5) {
      const dot = nearest(drag);
      brushed(dot ? [dot.item] : [], { more, toggle: true });
      return;
    }
    const inside = ({ px, py }) =>
      px >= drag.x && px <= drag.x + drag.width && py >= drag.y && py <= drag.y + drag.height;
    brushed(placed.filter(inside).map((dot) => dot.item), { more, toggle: false });
  });
}
