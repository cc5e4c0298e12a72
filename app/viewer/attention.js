/** From queries and keys to maps: rows ("where this pixel looks") and columns ("who looks here"). */

export const TERMS = ["whole", "pairwise", "unary"];

/** Write scale times the dot product of `vector` with each of many vectors. */
function dotProducts(vectors, vector, channels, scale, out) {
  const even = channels - (channels % 4);
  for (let j = 0, at = 0; j < out.length; j++) {
    let a = 0; // four sums, because each addition would wait for the one before
    let b = 0;
    let c = 0;
    let d = 0;
    let i = 0;
    for (; i < even; i += 4, at += 4) {
      a += vector[i] * vectors[at];
      b += vector[i + 1] * vectors[at + 1];
      c += vector[i + 2] * vectors[at + 2];
      d += vector[i + 3] * vectors[at + 3];
    }
    for (; i < channels; i++, at++) a += vector[i] * vectors[at];
    out[j] = (a + b + (c + d)) * scale;
  }
}

/** Write the pairwise logits of one query into `out`; query and key are whitened. */
export function pairwiseLogits({ query, key, channels, scale }, position, out) {
  dotProducts(key, query.subarray(position * channels, (position + 1) * channels), channels, scale, out);
}

/** Write the pairwise logits that every query has with one key. */
export function pairwiseLogitsOfKey({ query, key, channels, scale }, position, out) {
  dotProducts(query, key.subarray(position * channels, (position + 1) * channels), channels, scale, out);
}

/** Write what is left of the concatenation form's logits, ReLU(query + key), without their means. */
export function rectifiedPairwiseLogits({ query, key, row, unary }, position, out) {
  for (let j = 0; j < out.length; j++) {
    out[j] = Math.max(0, query[position] + key[j]) - row[position] - unary[j];
  }
}

function rectifiedPairwiseLogitsOfKey({ query, key, row, unary }, position, out) {
  for (let i = 0; i < out.length; i++) {
    out[i] = Math.max(0, query[i] + key[position]) - row[i] - unary[position];
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

/** The most different pair is looked for among this many queries, evenly chosen. */
export const MOST_CANDIDATES = 400;

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
 * are the logarithms of the rows' softmax denominators, which a column needs of every row at once.
 * Labels are given where queries do not look at all keys; weights out of reach are 0.
 */
export class Attention {
  constructor(spec, tensors) {
    const { query, key, unary, row } = tensors;
    const keys = unary.length;
    this.spec = spec;
    this.keys = keys;
    this.queries = spec.query_grid.height * spec.query_grid.width;
    this.projections = { query, key, unary, row, channels: key.length / keys, scale: spec.scale };
    this.reach = tensors.key_labels ? new Reach(tensors.query_labels, tensors.key_labels, keys) : null;
    this.norms = {
      pairwise: tensors.pairwise_norm,
      whole: tensors.whole_norm ?? tensors.pairwise_norm,
      unary: tensors.unary_norm,
    };
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
   * Return buffers for the maps of one direction; `squares` and `unarySquares` are the variation of
   * the pairwise and of the unary logits over the keys in reach.
   */
  emptyMaps(direction) {
    const size = direction === "column" ? this.queries : this.keys;
    const [whole, pairwise, unary] = TERMS.map(() => new Float32Array(size));
    return { direction, whole, pairwise, unary, squares: 0, unarySquares: 0, cells: 1, of: 1 };
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
      return maps;
    }
    const one = this.emptyMaps(maps.direction);
    for (const term of TERMS) maps[term].fill(positions.length ? 0 : NaN);
    maps.squares = 0;
    maps.unarySquares = 0;
    for (const index of evenly(positions.length, MOST_REGION_CELLS)) {
      this[write](one, positions[index]);
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

  writeRow(maps, position) {
    const { logits, coupledLogits, projections, unaryMap } = this;
    const { unary, row } = projections;
    const write = this.spec.form === "concatenation" ? rectifiedPairwiseLogits : pairwiseLogits;
    write(projections, position, logits);
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
    const write = spec.form === "concatenation" ? rectifiedPairwiseLogitsOfKey : pairwiseLogitsOfKey;
    write(projections, position, logits);
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
   * of its logits, and the mean of the map.
   */
  statistics(maps = this.maps) {
    const { whole, squares, unarySquares } = maps;
    const total = (this.spec.row_sum ?? NaN) * whole.length;
    let entropy = 0;
    let mean = 0;
    for (let j = 0; j < whole.length; j++) {
      const p = whole[j] / total;
      mean += whole[j] / whole.length;
      if (p !== 0) entropy -= p * Math.log2(p);
    }
    if (maps.direction === "column") entropy = NaN;
    return { entropy, mean, pairwiseShare: squares / (squares + unarySquares) };
  }

  /**
   * Return two queries whose rows differ most, by Jensen-Shannon divergence, among an even choice.
   *
   * As analysis.query_map.most_different: from the query farthest from the mean row to the one
   * farthest from it, and on from there until none is farther.
   */
  mostDifferent(count = MOST_CANDIDATES) {
    const candidates = evenly(this.queries, count);
    const rows = candidates.map((position) => {
      const { whole } = this.mapsOf(position);
      const sum = whole.reduce((total, value) => total + Math.abs(value), 0);
      return whole.map((value) => Math.abs(value) / sum);
    });
    const attending = rows.map((_, index) => index).filter((index) => !Number.isNaN(rows[index][0]));
    if (attending.length < 2) return null;
    const mean = new Float32Array(this.keys);
    for (const index of attending) for (let j = 0; j < mean.length; j++) mean[j] += rows[index][j] / attending.length;
    const entropies = rows.map(entropyOf);
    const farthest = (distance) => {
      let best = { index: attending[0], distance: -Infinity };
      for (const index of attending) {
        const away = distance(index);
        if (away > best.distance) best = { index, distance: away };
      }
      return best;
    };
    const fromMean = (index) => {
      let cross = 0;
      for (let j = 0; j < mean.length; j++) if (rows[index][j] > 0) cross -= rows[index][j] * Math.log(mean[j]);
      return cross - entropies[index];
    };
    const between = new Float32Array(this.keys);
    const from = (first) => (index) => {
      if (index === first) return -1;
      for (let j = 0; j < between.length; j++) between[j] = (rows[first][j] + rows[index][j]) / 2;
      return entropyOf(between) - (entropies[first] + entropies[index]) / 2;
    };
    let first = farthest(fromMean).index;
    let second = farthest(from(first));
    for (let sweep = 0; sweep < 4; sweep++) {
      const other = farthest(from(second.index));
      if (other.distance <= second.distance) break;
      [first, second] = [second.index, other];
    }
    return [candidates[first], candidates[second.index]];
  }
}

function entropyOf(shares) {
  let entropy = 0;
  for (let j = 0; j < shares.length; j++) if (shares[j] > 0) entropy -= shares[j] * Math.log(shares[j]);
  return entropy;
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
