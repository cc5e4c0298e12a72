/** From queries and keys to maps: rows ("where this pixel looks") and columns ("who looks here"). */

import { Axis } from "./axis.js";
import { formOf } from "./forms.js";

export const TERMS = ["whole", "pairwise", "unary"];

/** Write softmax(logits) times the number of keys: multiples of uniform attention. */
export function softmaxInMultiplesOfUniform(logits, out) {
  let top = -Infinity;
  for (let j = 0; j < logits.length; j++) if (logits[j] > top) top = logits[j];
  let sum = 0;
  for (let j = 0; j < logits.length; j++) sum += out[j] = Math.exp(logits[j] - top);
  const factor = logits.length / sum;
  for (let j = 0; j < out.length; j++) out[j] *= factor;
}

/** Which keys a query looks at: those that have one of its labels, in the same column of labels. */
class Reach {
  constructor(query, key, keys) {
    this.query = query;
    this.key = key;
    this.labels = key.length / keys;
  }

  sees(query, key) {
    const { labels } = this;
    for (let label = 0; label < labels; label++) {
      if (this.query[query * labels + label] === this.key[key * labels + label]) return true;
    }
    return false;
  }
}

/** A region of more cells than this is the mean of this many, evenly chosen. */
export const MOST_REGION_CELLS = 400;

/** Return at most `count` of the numbers below `total`, evenly spread. */
export function evenly(total, count) {
  if (total <= count) return Array.from({ length: total }, (_, i) => i);
  return Array.from({ length: count }, (_, i) => Math.floor(((i + 0.5) * total) / count));
}

/**
 * A record ready to answer: `fill(maps, positions, direction)` writes whole, pairwise and unary of
 * some queries (their mean), and `mapsOf(position)` those of one.
 *
 * Maps are multiples of uniform. Without a softmax (unnormalized) they are logits of any sign, and
 * `row` holds what a query's own mean adds to them. `pairwise_norm`, `whole_norm` and `unary_norm`
 * are the logarithms of the rows' softmax denominators, which a column needs of every row at once;
 * `pairwise_placed`, `whole_placed` and `unary_placed` are the rows' shares on keys with a place.
 * Labels are given where queries do not look at all keys; weights out of reach are 0.
 *
 * Maps are over all keys, those with a place first. With `onPicture`, what falls on the picture is
 * taken for itself: multiples of uniform over the places, whose rows sum to what the whole row does.
 */
export class Attention {
  constructor(spec, tensors) {
    const { query, key, unary, row } = tensors;
    const keys = unary.length;
    this.spec = spec;
    this.queryAxis = new Axis(spec.query_grid, spec.query_names, tensors.query_cells);
    this.keyAxis = new Axis(spec.key_grid, spec.key_names, tensors.key_cells);
    this.keys = keys;
    this.queries = this.queryAxis.length;
    this.projections = { query, key, unary, row, channels: key.length / keys, scale: spec.scale };
    this.reach = tensors.key_labels ? new Reach(tensors.query_labels, tensors.key_labels, keys) : null;
    this.norms = {
      pairwise: tensors.pairwise_norm,
      whole: tensors.whole_norm ?? tensors.pairwise_norm,
      unary: tensors.unary_norm,
    };
    this.onPlaces = { whole: tensors.whole_placed, pairwise: tensors.pairwise_placed, unary: tensors.unary_placed };
    this.logits = new Float32Array(keys);
    this.coupledLogits = new Float32Array(keys);
    this.maps = this.emptyMaps("row");
    this.unaryMap = new Float32Array(keys);
    if (spec.signed) this.unaryMap.set(unary);
    else softmaxInMultiplesOfUniform(unary, this.unaryMap);
    this.unaryLogits = new Float32Array(unary);
    this.unarySquares = variation(unary);
  }

  /**
   * Return buffers for the maps of one direction over the tokens of `axis`; `squares` and
   * `unarySquares` are the variation of the pairwise and of the unary logits over the keys in reach,
   * `off` holds the share of each map that lies off the picture.
   */
  emptyMaps(direction, onPicture = false) {
    const axis = direction === "column" ? this.queryAxis : this.keyAxis;
    const [whole, pairwise, unary] = TERMS.map(() => new Float32Array(axis.length));
    const off = { whole: NaN, pairwise: NaN, unary: NaN };
    return { direction, axis, onPicture, whole, pairwise, unary, off, squares: 0, unarySquares: 0, cells: 1, of: 1 };
  }

  mapsOf(position) {
    this.writeRow(this.maps, position);
    return this.maps;
  }

  /** Write the mean maps of some positions; of very many, the mean of an even choice of them. */
  fill(maps, positions) {
    const write = maps.direction === "column" ? "writeColumn" : "writeRow";
    maps.of = positions.length;
    maps.cells = Math.min(positions.length, MOST_REGION_CELLS);
    if (positions.length === 1) {
      this[write](maps, positions[0]);
      this.part(maps, positions[0]);
      return maps;
    }
    const one = this.emptyMaps(maps.direction, maps.onPicture);
    for (const term of TERMS) {
      maps[term].fill(positions.length ? 0 : NaN);
      maps.off[term] = 0;
    }
    maps.squares = 0;
    maps.unarySquares = 0;
    for (const index of evenly(positions.length, MOST_REGION_CELLS)) {
      this[write](one, positions[index]);
      this.part(one, positions[index]);
      for (const term of TERMS) maps.off[term] += one.off[term] / maps.cells;
      maps.squares += one.squares / maps.cells;
      maps.unarySquares += one.unarySquares / maps.cells;
      for (const term of TERMS) {
        const from = one[term];
        const to = maps[term];
        for (let j = 0; j < to.length; j++) to[j] += from[j] / maps.cells;
      }
    }
    return maps;
  }

  /**
   * Note which share of each map lies off the picture; where what is on it is wanted for itself, let
   * that sum to what the whole does. Tokens keep their part of the whole: they say what is left out.
   */
  part(maps, position) {
    const { axis, off } = maps;
    const { keyAxis, onPlaces, keys, spec } = this;
    if (spec.signed || (!axis.names.length && !keyAxis.names.length)) return;
    const column = maps.direction === "column";
    for (const term of TERMS) {
      const values = maps[term];
      let onIt = 0;
      let beside = 0;
      for (let j = 0; j < axis.placed; j++) onIt += values[j];
      for (let j = axis.placed; j < values.length; j++) beside += values[j];
      off[term] = beside / (onIt + beside);
      if (!maps.onPicture || !onPlaces.whole) continue;
      const unit = keyAxis.placed / keys;
      if (!column) {
        const factor = (unit * (onIt + beside)) / onIt;
        for (let j = 0; j < axis.placed; j++) values[j] *= factor;
      } else if (position >= keyAxis.placed) values.fill(NaN); // it is not on the picture
      else {
        const share = onPlaces[term];
        for (let i = 0; i < values.length; i++) values[i] *= unit / share[i];
      }
    }
  }

  writeRow(maps, position) {
    const { logits, coupledLogits, projections, unaryMap } = this;
    const { unary, row } = projections;
    formOf(this.spec).row(projections, position, logits);
    maps.squares = 0;
    for (let j = 0; j < logits.length; j++) maps.squares += logits[j] * logits[j];
    maps.unarySquares = this.unarySquares;
    maps.unary.set(unaryMap);
    if (this.reach) this.hide(maps, position);
    if (this.spec.signed) {
      maps.pairwise.set(logits);
      for (let j = 0; j < logits.length; j++) maps.whole[j] = row[position] + unary[j] + logits[j];
      return;
    }
    softmaxInMultiplesOfUniform(logits, maps.pairwise);
    if (this.spec.coupling === "disentangled") {
      const gain = this.spec.pairwise_gain;
      for (let j = 0; j < logits.length; j++) maps.whole[j] = gain * maps.pairwise[j] + maps.unary[j];
    } else {
      for (let j = 0; j < logits.length; j++) coupledLogits[j] = logits[j] + unary[j];
      softmaxInMultiplesOfUniform(coupledLogits, maps.whole);
    }
  }

  /** Take the keys out of reach of a query out of its logits and out of its unary map. */
  hide(maps, position) {
    const { logits, unaryLogits, projections, reach } = this;
    const seen = [];
    for (let j = 0; j < logits.length; j++) {
      if (reach.sees(position, j)) seen.push(j);
      else logits[j] = -Infinity;
    }
    unaryLogits.fill(-Infinity);
    for (const j of seen) unaryLogits[j] = projections.unary[j];
    softmaxInMultiplesOfUniform(unaryLogits, maps.unary);
    // the terms are not orthogonal within reaches that overlap: neither has a share of what is seen
    maps.squares = reach.labels > 1 ? NaN : variation(seen.map((j) => logits[j]));
    maps.unarySquares = variation(seen.map((j) => projections.unary[j]));
  }

  writeColumn(maps, position) {
    const { projections, norms, spec, keys } = this;
    const { unary, row } = projections;
    const logits = maps.pairwise;
    formOf(spec).column(projections, position, logits);
    maps.squares = NaN;
    maps.unarySquares = NaN;
    maps.unary.fill(this.unaryMap[position]);
    if (this.reach) {
      for (let i = 0; i < maps.unary.length; i++) maps.unary[i] = keys * Math.exp(unary[position] - norms.unary[i]);
    }
    if (spec.signed) {
      for (let i = 0; i < logits.length; i++) maps.whole[i] = row[i] + unary[position] + logits[i];
      return;
    }
    if (spec.coupling !== "disentangled") {
      for (let i = 0; i < logits.length; i++) {
        maps.whole[i] = keys * Math.exp(logits[i] + unary[position] - norms.whole[i]);
      }
    }
    for (let i = 0; i < logits.length; i++) logits[i] = keys * Math.exp(logits[i] - norms.pairwise[i]);
    if (spec.coupling === "disentangled") {
      for (let i = 0; i < logits.length; i++) maps.whole[i] = spec.pairwise_gain * logits[i] + maps.unary[i];
    }
    if (!this.reach) return;
    for (let i = 0; i < logits.length; i++) {
      if (!this.reach.sees(i, position)) for (const term of TERMS) maps[term][i] = 0;
    }
  }

  /**
   * Return entropy (bits; NaN where rows are no distributions) of a row, the pairwise term's share
   * of its logits, the mean of the map, and over how many tokens that is.
   */
  statistics(maps = this.maps) {
    const { whole, squares, unarySquares, axis, onPicture } = maps;
    const count = onPicture ? axis.placed : whole.length;
    const total = (this.spec.row_sum ?? NaN) * count;
    let entropy = 0;
    let mean = 0;
    for (let j = 0; j < count; j++) {
      const p = whole[j] / total;
      mean += whole[j] / count;
      if (p !== 0) entropy -= p * Math.log2(p);
    }
    if (maps.direction === "column") entropy = NaN;
    return { entropy, mean, pairwiseShare: squares / (squares + unarySquares), count };
  }
}

/** Return the sum of squares of values around their mean. */
function variation(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
}

/** Return how many values are greater than the one at `index`, plus one. */
export function rankOf(values, index) {
  let rank = 1;
  for (let j = 0; j < values.length; j++) if (values[j] > values[index]) rank++;
  return rank;
}

/** Write one map minus another that may lie on another grid: its cell under the middle of each of ours. */
export function writeDifference(out, one, other, places) {
  for (let j = 0; j < out.length; j++) {
    const at = places ? places[j] : j;
    out[j] = at === null ? NaN : one[j] - other[at];
  }
}
