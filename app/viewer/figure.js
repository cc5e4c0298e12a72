/**
 * The view as a picture to take away: first a list of what stands where, then a PNG or an SVG of it.
 *
 * Positions, words and colors are read from the page, so that the picture is what was seen.
 */

import { base64Of } from "./buffer.js";
import { pinColor } from "./color.js";
import { element, shapeAttributes } from "./elements.js";
import { boundsOf } from "./geometry.js";

const WORDS = ".title, .subtitle, .value, .ticks span, .unit span, .off";
const MARGIN = 16;
const FOOTER_LINE = 15;
const TOKEN_CORNER = 5;

/** Return { width, height, ground, items } of a viewer: stages, color bars and words with their boxes. */
export function figureOf(viewer) {
  const frame = viewer.stagesNode.getBoundingClientRect();
  const boxOf = (node) => {
    const { left, top, width, height } = node.getBoundingClientRect();
    return { x: left - frame.left + MARGIN, y: top - frame.top + MARGIN, width, height };
  };
  const style = getComputedStyle(viewer.root);
  const ground = groundOf(viewer.root);
  const items = [];
  const addBar = (bar, node) => {
    const box = boxOf(bar);
    if (!box.width) return; // one bar stands for all
    items.push({ kind: "bar", bar, ...box });
    for (const end of node.querySelectorAll(".above, .below")) {
      const endBox = boxOf(end);
      if (endBox.width) items.push({ kind: "end", back: end.className === "below", color: style.color, ...endBox });
    }
  };
  const addWords = (within, selector) => {
    for (const node of within.querySelectorAll(selector)) {
      const font = fontOf(getComputedStyle(node));
      for (const line of linesOf(node)) {
        const box = boxOf(line.range);
        if (box.width) items.push({ kind: "text", fitted: true, text: line.text, ...font, ...box });
      }
    }
  };
  const addTokens = ({ chips, list, isMap }) => {
    const seen = boxOf(list);
    for (const { node, bar } of chips.values()) {
      const box = boxOf(node);
      if (box.y < seen.y - 1 || box.y + box.height > seen.y + seen.height + 1) continue; // scrolled away
      const look = getComputedStyle(node);
      const line = { color: look.borderTopColor, width: parseFloat(look.borderTopWidth) };
      items.push({ kind: "token", ...box, line, ground: look.backgroundColor });
      if (isMap) items.push({ kind: "part", ...boxOf(bar), color: getComputedStyle(bar).backgroundColor });
      addWords(node, ".name, .share");
    }
  };
  for (const panel of viewer.panels) {
    items.push({ kind: "stage", panel, ...boxOf(panel.stage) });
    if (panel.bar) addBar(panel.bar, panel.node);
    addWords(panel.node, WORDS);
    if (panel.chips) addTokens(panel);
    const number = panel.caption.querySelector(".number");
    if (number) items.push({ kind: "number", text: number.textContent, color: pinColor(panel.row), family: style.fontFamily, ...boxOf(number) });
  }
  addBar(viewer.colorBar.bar, viewer.colorBar.node);
  addWords(viewer.colorBar.node, ".common-ticks span, .common-unit, .common-badge");
  let height = frame.height + 2 * MARGIN;
  for (const text of viewer.saving.provenance()) {
    items.push({ kind: "text", text, ...fontOf(style), size: 11, x: MARGIN, y: height - 6, width: frame.width, height: FOOTER_LINE });
    height += FOOTER_LINE;
  }
  return { width: Math.ceil(frame.width + 2 * MARGIN), height: Math.ceil(height + 6), ground, items };
}

/** Return the lines of a node's text as they stand on the page, each with its range. */
function linesOf({ firstChild: words }) {
  const lines = [];
  for (const { index, 0: word } of words?.data?.matchAll(/\S+/g) ?? []) {
    const range = document.createRange();
    range.setStart(words, index);
    range.setEnd(words, index + word.length);
    const { top } = range.getBoundingClientRect();
    const line = lines.at(-1);
    if (!line || Math.abs(line.top - top) > 2) lines.push({ top, range });
    else line.range.setEnd(words, index + word.length);
  }
  return lines.map(({ range }) => ({ range, text: range.toString().replaceAll("\n", " ") }));
}

const fontOf = (look) => ({
  color: look.color,
  size: parseFloat(look.fontSize),
  weight: look.fontWeight,
  family: look.fontFamily,
});

function groundOf(node) {
  for (let at = node; at; at = at.parentNode ?? at.host) {
    const color = at.nodeType === 1 ? getComputedStyle(at).backgroundColor : "";
    if (color && !/^rgba\(.*, 0\)$|^transparent$/.test(color)) return color;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches ? "#121212" : "#fff";
}

/** Paint the figure on a canvas, `density` pixels to each of the screen's. */
export function paintFigure({ width, height, ground, items }, viewer, density = 2) {
  const canvas = element("canvas", { width: width * density, height: height * density });
  const context = canvas.getContext("2d");
  context.scale(density, density);
  context.fillStyle = ground;
  context.fillRect(0, 0, width, height);
  for (const item of items) {
    const { x, y, width: w, height: h } = item;
    if (item.kind === "text") {
      context.font = `${item.weight} ${item.size}px ${item.family}`;
      context.fillStyle = item.color;
      context.textBaseline = "middle";
      context.fillText(item.text, x, y + h / 2);
    } else if (item.kind === "number") {
      context.fillStyle = "#000";
      context.strokeStyle = item.color;
      context.lineWidth = 2;
      context.beginPath();
      context.arc(x + w / 2, y + h / 2, h / 2 - 1, 0, 2 * Math.PI);
      context.fill();
      context.stroke();
      context.font = `700 12px ${item.family}`;
      context.fillStyle = "#fff";
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.fillText(item.text, x + w / 2, y + h / 2 + 0.5);
      context.textAlign = "start";
    } else if (item.kind === "bar") {
      context.imageSmoothingEnabled = false;
      context.drawImage(item.bar, x, y, w, h);
    } else if (item.kind === "token") {
      context.fillStyle = item.ground;
      context.strokeStyle = item.line.color;
      context.lineWidth = item.line.width;
      context.beginPath();
      context.roundRect(x, y, w, h, TOKEN_CORNER);
      context.fill();
      context.stroke();
    } else if (item.kind === "part") {
      context.fillStyle = item.color;
      context.fillRect(x, y, w, h);
    } else if (item.kind === "end") {
      context.fillStyle = item.color;
      context.fill(new Path2D(triangle(item)));
    } else paintStage(context, item, viewer);
  }
  return canvas;
}

function triangle({ x, y, width, height, back }) {
  const [base, tip] = back ? [x + width, x] : [x, x + width];
  return `M${base} ${y}L${tip} ${y + height / 2}L${base} ${y + height}Z`;
}

/** Return where picture and map lie in a stage, in its pixels. */
function layersOf({ panel, width, height }, { view, config }) {
  const left = -view.left * view.zoom * width;
  const top = -view.top * view.zoom * height;
  const whole = { x: left, y: top, width: width * view.zoom, height: height * view.zoom };
  const { grid, canvas } = panel;
  const [across, down] = [whole.width / config.image.width, whole.height / config.image.height];
  const bounds = grid && boundsOf(grid);
  const map = grid && panel.values && {
    x: whole.x + bounds.left * across,
    y: whole.y + bounds.top * down,
    width: bounds.width * across,
    height: bounds.height * down,
  };
  return { whole, map, canvas };
}

function paintStage(context, item, viewer) {
  const { panel, x, y, width, height } = item;
  const { settings } = viewer;
  const { whole, map, canvas } = layersOf(item, viewer);
  context.save();
  context.translate(x, y);
  context.beginPath();
  context.rect(0, 0, width, height);
  context.clip();
  const draw = (image, box) => context.drawImage(image, box.x, box.y, box.width, box.height);
  context.imageSmoothingEnabled = true;
  context.filter = map && settings.gray ? "grayscale(1)" : "none";
  draw(panel.image, whole);
  context.filter = "none";
  if (map) {
    context.globalAlpha = settings.opacity;
    context.imageSmoothingEnabled = settings.smooth;
    draw(canvas, map);
  } else if (panel.prediction && settings.prediction) {
    context.globalAlpha = Math.max(0.35, settings.opacity);
    context.imageSmoothingEnabled = false;
    draw(panel.prediction, whole);
  }
  context.globalAlpha = 1;
  context.lineJoin = context.lineCap = "round";
  for (const shape of panel.shapes ?? []) {
    const attributes = shapeAttributes(shape);
    context.strokeStyle = attributes.stroke;
    context.lineWidth = attributes["stroke-width"];
    context.fillStyle = attributes.fill;
    if (shape.text === undefined) {
      const path = new Path2D(shape.d);
      context.setLineDash(shape.dash ? shape.dash.split(" ").map(Number) : []);
      if (shape.fill) context.fill(path);
      context.stroke(path);
    } else {
      context.setLineDash([]);
      context.textBaseline = "alphabetic";
      context.font = `700 ${attributes["font-size"]}px system-ui, sans-serif`;
      context.strokeText(shape.text, shape.x, shape.y);
      context.fillText(shape.text, shape.x, shape.y);
    }
  }
  context.restore();
}

const escaped = (text) =>
  String(text).replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);

const tag = (name, attributes, content = "") =>
  `<${name} ${Object.entries(attributes)
    .map(([key, value]) => `${key}="${escaped(value)}"`)
    .join(" ")}>${content}</${name}>`;

/** Return the figure as a standalone SVG: words stay words, maps are pictures with sharp cells. */
export function svgOf({ width, height, ground, items }, viewer) {
  const photo = `data:${viewer.config.image.type};base64,${base64Of(viewer.photos[viewer.frame])}`;
  const { settings } = viewer;
  const box = ({ x, y, width: w, height: h }) => ({ x, y, width: w, height: h });
  const parts = items.map((item) => {
    const { panel } = item;
    if (item.kind === "text") {
      const { text, color, size, weight, family } = item;
      // as wide as on the page, whatever font there is to draw it with
      const fitted = item.fitted ? { textLength: item.width, lengthAdjust: "spacingAndGlyphs" } : {};
      return tag(
        "text",
        { x: item.x, y: item.y + item.height / 2, fill: color, "font-size": size, "font-weight": weight, "font-family": family, "dominant-baseline": "central", ...fitted },
        escaped(text),
      );
    }
    if (item.kind === "number") {
      const [cx, cy] = [item.x + item.width / 2, item.y + item.height / 2];
      return (
        tag("circle", { cx, cy, r: item.height / 2 - 1, fill: "#000", stroke: item.color, "stroke-width": 2 }) +
        tag("text", { x: cx, y: cy, fill: "#fff", "font-size": 12, "font-weight": 700, "font-family": item.family, "text-anchor": "middle", "dominant-baseline": "central" }, escaped(item.text))
      );
    }
    if (item.kind === "bar") {
      return tag("image", { ...box(item), href: item.bar.toDataURL(), preserveAspectRatio: "none", style: "image-rendering: pixelated" });
    }
    if (item.kind === "end") return tag("path", { d: triangle(item), fill: item.color });
    if (item.kind === "part") return tag("rect", { ...box(item), fill: item.color });
    if (item.kind === "token") return tag("rect", { ...box(item), rx: TOKEN_CORNER, fill: item.ground, stroke: item.line.color, "stroke-width": item.line.width });
    const { whole, map, canvas } = layersOf(item, viewer);
    const layers = [
      tag("image", { ...box(whole), href: photo, preserveAspectRatio: "none", ...(map && settings.gray ? { filter: "url(#gray)" } : {}) }),
    ];
    if (map) {
      const sharp = settings.smooth ? {} : { style: "image-rendering: pixelated" };
      layers.push(tag("image", { ...box(map), href: canvas.toDataURL(), preserveAspectRatio: "none", opacity: settings.opacity, ...sharp }));
    } else if (panel.prediction && settings.prediction) {
      const bytes = viewer.records[viewer.shown[0]].arraysAt(viewer.frame).prediction;
      const href = `data:image/png;base64,${base64Of(bytes)}`;
      layers.push(tag("image", { ...box(whole), href, preserveAspectRatio: "none", opacity: Math.max(0.35, settings.opacity), style: "image-rendering: pixelated" }));
    }
    for (const shape of panel.shapes ?? []) {
      layers.push(tag(shape.text === undefined ? "path" : "text", shapeAttributes(shape), shape.text === undefined ? "" : escaped(shape.text)));
    }
    return tag("svg", { ...box(item), viewBox: `0 0 ${item.width} ${item.height}`, overflow: "hidden" }, layers.join(""));
  });
  return (
    '<?xml version="1.0" encoding="UTF-8"?>\n' +
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">` +
    `<desc>${escaped(viewer.saving.provenance().join("\n"))}</desc>` +
    '<filter id="gray"><feColorMatrix type="saturate" values="0"/></filter>' +
    `<rect width="100%" height="100%" fill="${escaped(ground)}"/>${parts.join("\n")}</svg>\n`
  );
}
