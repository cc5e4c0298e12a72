/** A statistic through the layers: a dot for every head, a line through their means. */

import { drawn } from "../viewer/charts.js";
import { formatValue } from "../viewer/color.js";
import { endsOf, layerMean } from "./order.js";

const BOX = { width: 320, height: 170, left: 44, right: 8, above: 8, below: 34 };

/**
 * Return the drawing of one statistic by layer.
 *
 * With `overPictures`, a row for each layer of what payload.py has as depth, the line and its
 * interval are those; else they are over the layer's heads.
 */
export function depthCurve(heads, statistic, about, unitName, overPictures = null) {
  const layers = [...new Set(heads.map(({ layer }) => layer))].sort((a, b) => a - b);
  const [low, high] = endsOf(heads, statistic, about);
  const x = (layer) => BOX.left + ((layers.indexOf(layer) + 0.5) / layers.length) * (BOX.width - BOX.left - BOX.right);
  const y = (value) => BOX.above + (1 - (Math.min(Math.max(value, low), high) - low) / (high - low)) * (BOX.height - BOX.above - BOX.below);
  const parts = [];
  for (const value of [low, (low + high) / 2, high]) {
    parts.push(drawn("line", { x1: BOX.left, x2: BOX.width - BOX.right, y1: y(value), y2: y(value), class: "rule" }));
    parts.push(drawn("text", { x: BOX.left - 6, y: y(value) + 4, class: "end" }, formatValue(value)));
  }
  const each = Math.ceil(layers.length / 12);
  layers.forEach((layer, number) => {
    if (number % each === 0) parts.push(drawn("text", { x: x(layer), y: BOX.height - BOX.below + 14, class: "middle" }, String(layer)));
  });
  parts.push(drawn("text", { x: (BOX.left + BOX.width - BOX.right) / 2, y: BOX.height - 3, class: "middle" }, "layer"));
  const meanOf = (layer) => {
    if (!overPictures) return layerMean(heads.filter((head) => head.layer === layer).map(({ statistics }) => statistics[statistic]));
    const [, mean, bottom, top] = overPictures.find(([number]) => number === layer) ?? [];
    return Number.isFinite(mean) ? { mean, low: bottom ?? mean, high: top ?? mean } : null;
  };
  const means = layers.map((layer) => [layer, meanOf(layer)]).filter(([, found]) => found);
  const path = (points) => points.map(([layer, value], index) => `${index ? "L" : "M"}${x(layer).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  if (means.length > 1) {
    const upper = means.map(([layer, { high: top }]) => [layer, top]);
    const lower = means.map(([layer, { low: bottom }]) => [layer, bottom]).reverse();
    parts.push(drawn("path", { d: `${path(upper)}${path(lower).replace("M", "L")}Z`, class: "band" }));
  }
  for (const { layer, statistics } of heads) {
    if (Number.isFinite(statistics[statistic])) parts.push(drawn("circle", { cx: x(layer), cy: y(statistics[statistic]), r: 2, class: "head" }));
  }
  parts.push(drawn("path", { d: path(means.map(([layer, { mean }]) => [layer, mean])), class: "mean" }));
  const words = means.map(([layer, { mean }]) => `layer ${layer} ${formatValue(mean)}`).join(", ");
  const label = `${about?.label ?? statistic}${unitName}, mean over heads by layer: ${words}`;
  return drawn("svg", { viewBox: `0 0 ${BOX.width} ${BOX.height}`, class: "depth", role: "img", "aria-label": label }, ...parts);
}
