/** What is taken away beside pictures: records as files, and the whole viewer as one page. */

import { Axis } from "./axis.js";
import { base64Of, safetensorsOf } from "./buffer.js";

const RECORD_SCHEMA_VERSION = 6;
const RECORD_FIELDS = [
  "block",
  "form",
  "coupling",
  "scale",
  "head",
  "pairwise_gain",
  "whitened",
  "query_grid",
  "query_names",
  "key_grid",
  "key_names",
];

/**
 * Return a record in the layout of analysis.record.AttentionRecord.save.
 *
 * Queries and keys came whitened and in half precision; their means are added again, so that
 * whatever is derived from them is that of the block, to about three digits.
 */
export function recordBytes({ spec, arrays }, product) {
  const keys = arrays.unary.length;
  const { length: queries } = new Axis(spec.query_grid, spec.query_names, arrays.query_cells);
  const channels = arrays.key.length / keys;
  const restored = (values, means) =>
    means ? values.map((value, at) => value + means[at % means.length]) : values;
  const tensors = {
    query: { shape: [queries, channels], values: restored(arrays.query, arrays.query_mean) },
    key: { shape: [keys, channels], values: restored(arrays.key, arrays.key_mean) },
  };
  if (spec.learned) tensors.unary = { shape: [keys], values: arrays.unary };
  for (const name of ["query_cells", "key_cells"]) {
    if (arrays[name]) tensors[name] = { shape: [arrays[name].length], values: arrays[name] };
  }
  const header = { schema_version: RECORD_SCHEMA_VERSION };
  for (const field of RECORD_FIELDS) header[field] = spec[field];
  if (spec.reach) {
    header.reach = spec.reach;
    const labels = arrays.key_labels.length / keys;
    tensors.query_labels = { shape: [queries, labels], values: arrays.query_labels };
    tensors.key_labels = { shape: [keys, labels], values: arrays.key_labels };
  }
  return safetensorsOf(tensors, {
    "nonlocal_lens.record": JSON.stringify(header),
    "nonlocal_lens.source": `${product}: saved by the viewer, in half precision`,
  });
}

const LETTERS = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;" }; // as Python's html.escape

export function escapeHtml(text) {
  return String(text).replace(/[&<>"']/g, (letter) => LETTERS[letter]);
}

/** Fill the template that template.py makes: names in it are replaced once, text is escaped. */
export function fillPage(template, { title, about, view, payload }) {
  const values = {
    title: escapeHtml(title),
    meta: "",
    about: about.map((line) => `<li>${escapeHtml(line)}</li>`).join(""),
    details: "",
    view: escapeHtml(JSON.stringify(view)),
    payload: base64Of(payload),
  };
  return template.replace(/%%(\w+)%%/g, (name, key) => values[key] ?? name);
}
