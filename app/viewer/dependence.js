/**
 * How much the query matters: how far each query's row is from the mean row, in bits.
 *
 * It takes every row twice. So it is computed when it is first looked at, in between what the person
 * at the page does, and shown when it is there.
 */

const SLICE_MS = 10; // at a time

/**
 * Compute KL(row || mean row) of every query, as analysis.query_map.divergence_from_mean_bits. The mean
 * is over the queries that count: those with a place, or all where none has one.
 *
 * Weights are taken without their sign and divided by their sum; a row of zeros has NaN. `rest` is
 * awaited with the share that is done, and ends the work by returning false.
 */
export async function divergenceFromMean(attention, rest) {
  const { queries, keys } = attention;
  const counting = attention.queryAxis.placed || queries;
  const mean = new Float64Array(keys);
  const found = new Float32Array(queries);
  let attending = 0;
  let until = performance.now() + SLICE_MS;
  for (let step = 0; step < counting + queries; step++) {
    if (performance.now() > until) {
      if ((await rest(step / (counting + queries))) === false) return null;
      until = performance.now() + SLICE_MS;
    }
    const query = step < counting ? step : step - counting;
    const { whole } = attention.mapsOf(query);
    let sum = 0;
    for (let j = 0; j < keys; j++) sum += Math.abs(whole[j]);
    if (step < counting) {
      if (!(sum > 0)) continue;
      attending++;
      for (let j = 0; j < keys; j++) mean[j] += Math.abs(whole[j]) / sum;
      continue;
    }
    let bits = sum > 0 ? 0 : NaN;
    for (let j = 0; j < keys; j++) {
      const share = Math.abs(whole[j]) / sum;
      if (share > 0) bits += share * Math.log2((share * attending) / mean[j]);
    }
    found[query] = bits < 0 ? 0 : bits;
  }
  return found;
}

export class Dependence {
  constructor(viewer) {
    this.viewer = viewer;
    this.forget();
  }

  /** Another payload has come: what is under way ends. */
  forget() {
    this.found = new Map(); // by attention: values, or the share that is done
  }

  /** Return the map of a record in a frame and the bits of its named queries, null until they are there. */
  at(record, frame) {
    const part = Math.max(0, record.partOf(frame));
    const attention = record.attentions[part];
    if (!this.found.has(attention)) this.begin(attention);
    const values = this.found.get(attention);
    if (typeof values === "number") return { values: null, named: null, absent: null, done: values };
    const { queryAxis: axis } = attention;
    const at = record.gridFrame(part, frame) ?? 0;
    const top = values.reduce((most, value) => (value > most ? value : most), 0);
    const laid = axis.placed ? axis.laid(values, at, new Float32Array(axis.size)) : null;
    return { values: laid, named: values.subarray(axis.placed), absent: axis.absent(at), done: 1, top };
  }

  async begin(attention) {
    const { found } = this;
    found.set(attention, 0);
    const values = await divergenceFromMean(attention, async (done) => {
      found.set(attention, done);
      this.viewer.stages.showProgress(done);
      await new Promise((resolve) => setTimeout(resolve));
      return found === this.found;
    });
    if (!values || found !== this.found) return;
    found.set(attention, values);
    this.viewer.paint();
  }
}
