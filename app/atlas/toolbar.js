/** What a wall can be asked for: selects, a filter, and what becomes of the heads that are picked. */

import { formatValue } from "../viewer/color.js";
import { button, element, setText } from "../viewer/elements.js";
import { MAPS } from "./heads.js";
import { ORDERS, TWINS } from "./order.js";
import { paintBar } from "../viewer/panel.js";
import { SCALES, SIZES } from "./view.js";

/** Return the bar over a wall: { node, update(), showScale(range, signed) }. */
export function buildBar(atlas) {
  const { view, config } = atlas;
  const statistics = Object.fromEntries(config.statistics.map(({ name, label }) => [name, label]));
  const choice = (label, name, choices, after = () => {}) => {
    const options = Object.entries(choices).map(([value, text]) => element("option", { value, ...(view[name] === value ? { selected: "" } : {}) }, text));
    const select = element("select", { "aria-label": label, "data-choice": name, onchange: () => (after(), atlas.change({ [name]: select.value })) }, ...options);
    return element("label", {}, element("span", {}, label), select);
  };
  const grouped = element("input", { type: "checkbox", ...(view.grouped ? { checked: "" } : {}), onchange: () => atlas.change({ grouped: grouped.checked }) });
  const filter = element("input", {
    type: "text",
    placeholder: "name, or > 0.5",
    title: "Heads whose name holds these words; > 0.5 and < 0.5 are about the number",
    "aria-label": "Filter",
    oninput: () => atlas.change({ filter: filter.value }),
  });
  filter.value = view.filter;
  const many = (/** @type {any[]} */ ...nodes) => (config.heads.length > 1 ? nodes : []); // of one there is nothing to arrange
  const count = element("span", { class: "count", role: "status" });
  const compare = button("", () => atlas.hears.compare?.(view.picked), { class: "compare" });
  const clear = button("Clear", () => {
    view.picked = [];
    atlas.change({});
  }, { class: "clear" });
  const node = element(
    "div",
    { class: "toolbar", role: "toolbar", "aria-label": "What the wall shows" },
    choice("Number", "statistic", statistics),
    ...many(choice("Order", "order", ORDERS), element("label", {}, grouped, element("span", {}, "By layer"))),
    choice("Map", "map", MAPS),
    choice("Scale", "scale", SCALES, () => (atlas.ranges = null)),
    ...many(choice("Heads", "twins", TWINS), element("label", {}, element("span", {}, "Filter"), filter)),
    choice("Size", "size", SIZES),
    count,
    compare,
    clear,
  );
  return {
    node,
    update() {
      const { shown, heads, parts } = atlas;
      const coming = atlas.whole ? "" : `, ${parts.size - 1} of ${config.parts - 1} parts are here`;
      setText(count, heads.length > 1 ? `${shown.length} of ${heads.length} heads${coming}` : "One head");
      const { picked } = view;
      compare.hidden = picked.length < 2 || !atlas.hears.compare;
      clear.hidden = picked.length === 0;
      setText(compare, `Compare ${picked.length}`);
    },
    showScale(range, signed) {
      const canvas = element("canvas", { width: 256, height: 1, class: "bar", "aria-hidden": "true" });
      paintBar(canvas, signed ? atlas.palettes.RdBu_r : atlas.palettes.viridis);
      const unit = signed ? "logits" : "multiples of uniform";
      const ends = [range.low, range.high].map((value) => element("span", {}, formatValue(value)));
      const own = atlas.view.scale === "head" ? "Each map on a scale of its own" : `Colors: ${unit}${range.log ? ", logarithmic" : ""}`;
      const scale = element("div", { class: "scale-of-maps" }, canvas, element("div", { class: "ends" }, ...ends), element("div", {}, own));
      atlas.legend.replaceChildren(scale);
    },
  };
}
