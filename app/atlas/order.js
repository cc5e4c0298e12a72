/** Which heads the wall shows, in which order and groups. Pure functions. */

export const ORDERS = { layer: "Layer and head", highest: "Highest first", lowest: "Lowest first" };
export const TWINS = { all: "All heads", without: "Without redundant", only: "Redundant only" };

/**
 * Return the heads that a filter lets through: words are parts of names, `> 0.5` and `< 0.5` are
 * about the chosen statistic. Heads whose numbers have not come yet stay.
 */
export function filtered(heads, { statistic, filter, twins }) {
  const tests = filter.trim().toLowerCase().match(/[<>]\s*-?[\d.]+|\S+/g) ?? [];
  return heads.filter((head) => {
    const value = head.statistics[statistic];
    if (twins !== "all" && (head.twin !== null) !== (twins === "only")) return false;
    return tests.every((test) => {
      const bound = /^([<>])\s*(-?[\d.]+)$/.exec(test);
      if (!bound) return head.title.toLowerCase().includes(test);
      if (value === undefined) return true; // not measured yet
      if (!Number.isFinite(value)) return false; // null would count as 0
      return bound[1] === ">" ? value > Number(bound[2]) : value < Number(bound[2]);
    });
  });
}

/** Return heads in an order; those without a number come last, ties keep the network's order. */
export function ordered(heads, { statistic, order }) {
  if (order === "layer") return [...heads].sort((one, other) => one.index - other.index);
  const sign = order === "highest" ? -1 : 1;
  const known = ({ statistics }) => Number.isFinite(statistics[statistic]);
  return [...heads].sort((one, other) => {
    if (known(one) !== known(other)) return known(one) ? -1 : 1;
    const by = known(one) ? sign * (one.statistics[statistic] - other.statistics[statistic]) : 0;
    return by || one.index - other.index;
  });
}

/** Return groups of heads, `{ layer, block, heads }`; one without a layer where they are not grouped. */
export function groupsOf(heads, view) {
  const shown = ordered(filtered(heads, view), view);
  if (!view.grouped) return shown.length ? [{ layer: null, block: "", heads: shown }] : [];
  const layers = new Map();
  for (const head of shown) {
    if (!layers.has(head.layer)) layers.set(head.layer, { layer: head.layer, block: head.block, heads: [] });
    layers.get(head.layer).heads.push(head);
  }
  return [...layers.values()].sort((one, other) => one.layer - other.layer);
}

/** Return what all numbers lie between: the statistic's own ends where both are fixed, else what there is. */
export function endsOf(heads, statistic, about) {
  const values = heads.map(({ statistics }) => statistics[statistic]).filter(Number.isFinite);
  if (about?.low !== undefined && about.high !== undefined) return [about.low, about.high];
  if (!values.length) return [0, 1];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return high > low ? [low, high] : [low, low + 1];
}

/** Return the mean of a layer's heads with its 95 % interval over them; null where no number is there. */
export function layerMean(values) {
  const known = values.filter(Number.isFinite);
  if (!known.length) return null;
  const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
  if (known.length < 3) return { mean, low: mean, high: mean };
  const variance = known.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (known.length - 1);
  const half = 1.96 * Math.sqrt(variance / known.length);
  return { mean, low: mean - half, high: mean + half };
}
