/** The list of pinned queries. */

import { pinColor } from "./color.js";
import { button, element } from "./elements.js";

/** Return the list of pinned queries: choose, rename, reorder, remove. */
export function buildQueryList({ selection, readout }) {
  return element(
    "ul",
    { class: "queries", "aria-label": "Pinned queries" },
    ...selection.queries.map((query, index) => {
      const active = index === selection.active;
      const name = readout.nameOf(query);
      const item = element(
        "li",
        { class: active ? "active" : "", style: `--pin: ${pinColor(index)}` },
        button("", () => selection.activate(index), { class: "choose", "aria-pressed": String(active) }),
      );
      item.firstChild.append(element("b", { class: "number" }, String(index + 1)), element("span", {}, name));
      if (active && selection.queries.length > 1) {
        item.append(
          button("‹", () => selection.move(index, -1), { "aria-label": `Move query ${index + 1} up`, title: "Earlier ([)" }),
          button("›", () => selection.move(index, 1), { "aria-label": `Move query ${index + 1} down`, title: "Later (])" }),
        );
      }
      if (active) {
        item.append(button("✎", () => rename({ selection, readout }, item, query), { "aria-label": `Rename query ${index + 1}`, title: "Rename (N)", class: "rename" }));
      }
      item.append(button("×", () => selection.remove(index), { "aria-label": `Remove query ${index + 1}`, title: "Remove (Delete)" }));
      return item;
    }),
  );
}

export function rename({ selection, readout }, item, query) {
  const field = element("input", {
    type: "text",
    maxlength: "40",
    "aria-label": "Name of the query",
    value: query.name ?? "",
    placeholder: readout.nameOf({ ...query, name: "" }),
    onkeydown: (event) => {
      if (event.key === "Enter") selection.rename(query, field.value);
      else if (event.key === "Escape") selection.rename(query, query.name ?? "");
      else return;
      event.preventDefault();
    },
    onblur: () => selection.rename(query, field.value),
  });
  item.replaceChildren(field);
  field.focus();
  field.select();
}
