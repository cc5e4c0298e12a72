/** Line charts over the frames of a clip. */

import { element } from "./elements.js";

const [HEIGHT, LEFT, BOTTOM, ABOVE] = [150, 52, 22, 10];

/** Return an SVG element. */
export function drawn(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/**
 * Return a line chart over frames, as a figure with words: { node, show(frame) }.
 *
 * A series has a name, values and a class; `line` is a value to compare with, `queried` the frame
 * of the query.
 */
export function buildChart({ title, series, top, format, line, queried, width }) {
  const count = series[0].values.length;
  const x = (frame) => LEFT + ((frame + 0.5) / count) * (width - LEFT - 8);
  const y = (value) => ABOVE + (1 - value / (top || 1)) * (HEIGHT - BOTTOM - ABOVE);
  const parts = [];
  const text = (at, label, place) => drawn("text", { ...at, class: place }, label);
  for (const value of [0, top / 2, top]) {
    parts.push(drawn("line", { x1: LEFT, x2: width - 8, y1: y(value), y2: y(value), class: "rule" }));
    parts.push(text({ x: LEFT - 6, y: y(value) + 4 }, format(value), "end"));
  }
  const each = Math.ceil(count / 16);
  for (let frame = 0; frame < count; frame += each) {
    parts.push(text({ x: x(frame), y: HEIGHT - 4 }, String(frame + 1), "middle"));
  }
  const now = drawn("line", { y1: ABOVE, y2: HEIGHT - BOTTOM, class: "now" });
  parts.push(now);
  if (line) parts.push(drawn("line", { x1: LEFT, x2: width - 8, y1: y(line.value), y2: y(line.value), class: "uniform" }));
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
      const own = index === queried;
      parts.push(drawn("circle", { cx: px, cy: py, r: own ? 4.5 : 2.5, class: `dot ${kind}${own ? " own" : ""}` }));
    }
  }
  const words = series.map(({ name, values }) => `${name}: ${[...values].map((v) => (Number.isFinite(v) ? format(v) : "none")).join(", ")}`);
  const legend = element(
    "figcaption",
    {},
    element("span", { class: "title" }, title),
    ...(series.length > 1 ? series.map(({ name, class: kind }) => element("span", { class: `key ${kind}` }, name)) : []),
    ...(line ? [element("span", { class: "key uniform" }, line.name)] : []),
  );
  const label = `${title}. ${words.join(". ")}`;
  const drawing = drawn("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": label }, ...parts);
  return {
    node: element("figure", { class: "chart" }, legend, drawing),
    show(frame) {
      const at = x(frame);
      now.setAttribute("x1", at);
      now.setAttribute("x2", at);
    },
  };
}
