/** The forms of attention: how a query and a key make a pairwise logit; twins of those in analysis/forms.py. */

/**
 * Write scale times the dot product of `vector` with each of many vectors.
 *
 * Two at once, because what is read of `vector` serves both; each by four sums, because an addition
 * would wait for the one before. The last one of an odd number is its own partner.
 */
function dotProducts(vectors, vector, channels, scale, out) {
  const even = channels - (channels % 4);
  const last = out.length - 1;
  for (let j = 0; j <= last; j += 2) {
    const k = Math.min(j + 1, last);
    let p = j * channels;
    let q = k * channels;
    let a = 0, b = 0, c = 0, d = 0; // of j
    let e = 0, f = 0, g = 0, h = 0; // of k
    let i = 0;
    for (; i < even; i += 4, p += 4, q += 4) {
      const w = vector[i], x = vector[i + 1], y = vector[i + 2], z = vector[i + 3];
      a += w * vectors[p];
      b += x * vectors[p + 1];
      c += y * vectors[p + 2];
      d += z * vectors[p + 3];
      e += w * vectors[q];
      f += x * vectors[q + 1];
      g += y * vectors[q + 2];
      h += z * vectors[q + 3];
    }
    for (; i < channels; i++, p++, q++) {
      a += vector[i] * vectors[p];
      e += vector[i] * vectors[q];
    }
    out[j] = (a + b + (c + d)) * scale;
    out[k] = (e + f + (g + h)) * scale;
  }
}

/** Write the pairwise logits of one query into `out`; query and key are whitened. */
function pairwiseLogits({ query, key, channels, scale }, position, out) {
  dotProducts(key, query.subarray(position * channels, (position + 1) * channels), channels, scale, out);
}

/** Write the pairwise logits that every query has with one key. */
function pairwiseLogitsOfKey({ query, key, channels, scale }, position, out) {
  dotProducts(query, key.subarray(position * channels, (position + 1) * channels), channels, scale, out);
}

/** Write what is left of the concatenation form's logits, ReLU(query + key), without their means. */
function rectifiedPairwiseLogits({ query, key, row, unary }, position, out) {
  for (let j = 0; j < out.length; j++) {
    out[j] = Math.max(0, query[position] + key[j]) - row[position] - unary[j];
  }
}

function rectifiedPairwiseLogitsOfKey({ query, key, row, unary }, position, out) {
  for (let i = 0; i < out.length; i++) {
    out[i] = Math.max(0, query[i] + key[position]) - row[i] - unary[position];
  }
}

/** Form -> pairwise logits of one query with every key, and of every query with one key. */
const OTHERS = { concatenation: { row: rectifiedPairwiseLogits, column: rectifiedPairwiseLogitsOfKey } };
const PRODUCT = { row: pairwiseLogits, column: pairwiseLogitsOfKey };

export const formOf = (spec) => OTHERS[spec.form] ?? PRODUCT;
