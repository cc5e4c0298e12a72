/** Every head of a network, ready to answer one query at once: rows computed, cells painted. */

import { Attention, softmaxInMultiplesOfUniform } from "../viewer/attention.js";
import { colorize } from "../viewer/color.js";
import { formOf } from "../viewer/forms.js";
import { positionAt } from "../viewer/geometry.js";

/** What a cell can show; the last two are the same wherever one points. */
export const MAPS = { whole: "Whole", pairwise: "Pairwise", unary: "Unary", mean: "Mean row" };

/** One block, or one head of it: its numbers, its twin, and its maps once its part has come. */
export class Head {
  constructor(index, about) {
    this.index = index;
    Object.assign(this, about); // title, layer, head, block, spec, scale_top, peak
    this.statistics = {};
    this.twin = null;
    this.attention = null;
    this.canvas = null;
  }

  /** Take the numbers and tensors of the part that this head came with. */
  take(tensors, { statistics, twin, ...ends }) {
    this.statistics = statistics;
    this.twin = twin;
    Object.assign(this, ends);
    this.attention = new Attention(this.spec, tensors);
    this.mean = tensors.mean;
    this.unaryMean = tensors.unary_mean; // over several pictures
  }

  /** Return the index of the query under an image point; null where there is none. */
  queryAt(point) {
    const cell = positionAt(point, this.spec.query_grid);
    return cell === null ? null : this.attention.queryAxis.at(cell);
  }

  /** Return the values of one map for a query; null where there are none to show. */
  values(map, point) {
    if (!this.attention) return null;
    if (map === "mean") return this.mean;
    if (map === "unary" && this.unaryMean) return this.unaryMean;
    if (map === "unary" && !this.attention.reach) return this.attention.unaryMap;
    const query = point && this.queryAt(point);
    if (query === null || query === undefined) return null;
    return map === "whole" && this.plain ? this.wholeRow(query) : this.attention.mapsOf(query)[map];
  }

  /** Whether one softmax over all keys is all there is: most heads, which are computed without their terms. */
  get plain() {
    return this.spec.coupling === "coupled" && !this.spec.signed && !this.attention.reach;
  }

  /** Return what `Attention.mapsOf` has as the whole, by a third of the work. */
  wholeRow(query) {
    const { logits, maps, projections } = this.attention;
    formOf(this.spec).row(projections, query, logits);
    const { unary } = projections;
    for (let j = 0; j < logits.length; j++) logits[j] += unary[j];
    softmaxInMultiplesOfUniform(logits, maps.whole);
    return maps.whole;
  }

  /** Give the head a canvas with a pixel for every key cell. */
  drawOn(canvas) {
    const { width, height } = this.spec.key_grid;
    canvas.width = width;
    canvas.height = height;
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.image = this.context.createImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }

  /** Paint values, or nothing where there are none. */
  paint(values, range, palette) {
    if (!values) {
      this.pixels.fill(0);
    } else {
      const { keyAxis } = this.attention;
      this.absent ??= keyAxis.absent(0);
      this.laid ??= this.absent && new Float32Array(this.pixels.length);
      colorize(keyAxis.laid(values, 0, this.laid), range, palette, this.pixels, this.absent);
    }
    this.context.putImageData(this.image, 0, 0);
  }
}
