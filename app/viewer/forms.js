/** The forms of attention: how a query and a key make a pairwise logit; twins of those in analysis/forms.py. */

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
