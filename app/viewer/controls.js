/** The toolbar with its menus, the list of pinned queries, and the help. */

import { pinColor } from "./color.js";
import { element } from "./elements.js";
import { TERMS } from "./attention.js";

export const TITLES = {
  whole: "Whole attention",
  pairwise: "Pairwise term",
  unary: "Unary term",
};

const SCALES = {
  shared: "Shared scale",
  "per-map": "Per map (rescaled)",
  log: "Shared, logarithmic",
  fixed: "Fixed scale",
};

const DIRECTIONS = { row: "Where this pixel looks", column: "Who looks here" };

export const MOST_SHOWN = 4;

/** Choices outlive the picture and the viewer they were made in. */
export const remembered = {
  palette: "viridis",
  signedPalette: "RdBu_r",
  scale: "shared",
  fixed: 10,
  opacity: 0.75,
  smooth: false,
  prediction: false,
  grey: true,
  direction: "row",
  tool: "rectangle",
  arrows: false,
  arrowCount: 20,
  boxes: false,
  boxCount: 5,
  contours: false,
  exclude: 0,
};

export function choice(label, options, value, onchange, attributes = {}) {
  const node = element(
    "select",
    { "aria-label": label, onchange: () => onchange(node.value), ...attributes },
    ...Object.entries(options).map(([key, text]) => element("option", { value: key }, text)),
  );
  node.value = value;
  if (node.selectedIndex < 0) node.selectedIndex = 0; // chosen for a record that offers more
  return node;
}

export function check(label, checked, onchange, title = null) {
  const node = element("input", { type: "checkbox", onchange: () => onchange(node.checked, node) });
  node.checked = checked;
  return element("label", { title }, node, element("span", {}, label));
}

function amount(label, value, { min, max, step }, oninput) {
  const node = element("input", { type: "number", min, max, step, value, "aria-label": label });
  node.addEventListener("input", () => {
    const chosen = Number(node.value);
    if (node.value !== "" && chosen >= min && chosen <= max) oninput(chosen);
  });
  return node;
}

const line = (label, control) => element("label", { class: "line" }, element("span", {}, label), control);

/** Return a button that opens a panel of controls; one is open at a time, Escape closes it. */
function menu(title, ...children) {
  const body = element("div", { class: "menu-body" }, ...children);
  const node = element(
    "details",
    {
      class: "menu",
      ontoggle: () => {
        if (!node.open) return;
        for (const other of node.parentNode.querySelectorAll("details[open]")) if (other !== node) other.open = false;
        body.style.marginLeft = "0px";
        const frame = node.closest(".lens").getBoundingClientRect();
        const box = body.getBoundingClientRect();
        body.style.marginLeft = `${Math.min(0, Math.floor(frame.right - box.right))}px`;
      },
      onkeydown: (event) => {
        if (event.key !== "Escape" || !node.open) return;
        node.open = false;
        node.firstChild.focus();
        event.stopPropagation();
      },
      onfocusout: (event) => {
        if (event.relatedTarget && !node.contains(event.relatedTarget)) node.open = false;
      },
    },
    element("summary", {}, title),
    body,
  );
  return node;
}

const button = (text, onclick, attributes = {}) => element("button", { type: "button", onclick, ...attributes }, text);

/** Build the toolbar of a viewer, once for each payload. */
export function buildToolbar(viewer) {
  const { settings, config, records } = viewer;
  const set = (name) => (value) => viewer.set(name, value);
  const signedOnly = records.every(({ spec }) => spec.signed);
  const anySigned = records.some(({ spec }) => spec.signed);
  const { log, ...linear } = SCALES;
  const scales = signedOnly ? linear : { ...linear, log };
  const fixed = line("Fixed at", amount("Fixed at", settings.fixed, { min: 1e-6, max: 1e6, step: "any" }, set("fixed")));
  fixed.classList.add("fixed");
  const opacity = element("input", {
    type: "range",
    min: "0",
    max: "1",
    step: "0.05",
    value: settings.opacity,
    oninput: () => viewer.set("opacity", Number(opacity.value)),
  });
  viewer.opacityControl = opacity;
  const direction = choice("Direction", DIRECTIONS, settings.direction, set("direction"));
  viewer.directionControl = direction;
  return element(
    "div",
    { class: "toolbar", role: "group", "aria-label": "How maps are drawn" },
    direction,
    choice("Scale", scales, settings.scale, set("scale")),
    fixed,
    element("label", { title: "Opacity of the maps over the photo (O switches them off and on)" }, element("span", {}, "Opacity"), opacity),
    element(
      "div",
      { class: "menus" },
      menu("View", ...viewControls(viewer, { signedOnly, anySigned })),
      menu("Marks", ...markControls(viewer)),
      menu("Queries", ...queryControls(viewer)),
      menu("Save", ...saveControls(viewer)),
      button("?", () => viewer.showHelp(), { "aria-label": "Keyboard help", title: "Keyboard help" }),
    ),
  );
}

function viewControls(viewer, { signedOnly, anySigned }) {
  const { settings, config, records } = viewer;
  const set = (name) => (value) => viewer.set(name, value);
  const named = (names) => Object.fromEntries(names.map((name) => [name, name]));
  const controls = [];
  if (!signedOnly) controls.push(line("Colors", choice("Colors", named(config.palettes), settings.palette, set("palette"))));
  if (anySigned || records.length > 1) {
    const label = signedOnly ? "Colors" : "Signed colors";
    controls.push(
      line(label, choice(label, named(config.diverging_palettes), settings.signedPalette, set("signedPalette"))),
    );
  }
  controls.push(
    check("Smooth", settings.smooth, set("smooth"), "Bilinear instead of nearest: pretty, but a cell is the truth"),
    check("Grey backdrop", settings.grey, set("grey"), "Maps over a photo without colors of its own"),
  );
  if (viewer.predictions.some(Boolean)) {
    controls.push(check("Prediction", settings.prediction, set("prediction"), "Lay the predicted segmentation over the photo"));
  }
  const group = (title, ...children) =>
    element("fieldset", {}, element("legend", {}, title), ...children);
  controls.push(
    group(
      "Maps",
      ...TERMS.map((term) => check(TITLES[term], viewer.terms.includes(term), (on, node) => viewer.toggleTerm(term, on, node))),
    ),
  );
  if (records.length > 1) {
    controls.push(
      group(
        `Side by side (at most ${MOST_SHOWN})`,
        ...records.map(({ title }, index) =>
          check(title, viewer.shown.includes(index), (on, node) => viewer.toggleRecord(index, on, node)),
        ),
      ),
    );
    viewer.differenceControl = choice("Difference", viewer.differenceOptions(), viewer.difference.join("-"), (value) =>
      viewer.setDifference(value === "" ? [] : value.split("-").map(Number)),
    );
    controls.push(line("Difference", viewer.differenceControl));
  }
  controls.push(
    element(
      "div",
      { class: "buttons" },
      button("Zoom in", () => viewer.zoom(1.5), { title: "+" }),
      button("Zoom out", () => viewer.zoom(1 / 1.5), { title: "−" }),
      button("Fit", () => viewer.zoom(0), { title: "Backspace" }),
    ),
  );
  return controls;
}

function markControls(viewer) {
  const { settings } = viewer;
  const set = (name) => (value) => viewer.set(name, value);
  const counted = (label, setting, count, range) =>
    element(
      "div",
      { class: "counted" },
      check(label, settings[setting], set(setting)),
      amount(`${label}: how many`, settings[count], range, set(count)),
    );
  return [
    counted("Arrows to the strongest", "arrows", "arrowCount", { min: 1, max: 100, step: 1 }),
    counted("Boxes around the strongest", "boxes", "boxCount", { min: 1, max: 50, step: 1 }),
    check("Contours of 50 % and 90 % of the mass", settings.contours, set("contours"), "Solid: the fewest cells that hold half of it; dashed: 90 %"),
    line(
      "Leave out cells within",
      amount("Leave out cells within (0: none)", settings.exclude, { min: 0, max: 50, step: 0.5 }, set("exclude")),
    ),
    element("p", { class: "hint" }, "cells of the query: they get no mark, so that a pixel's look at itself does not hide the rest."),
  ];
}

/** Return a listener that does something and closes the menu, which would cover what it did. */
const once = (act) => (event) => {
  const { firstChild: title } = event.target.closest(".menu");
  act();
  title.parentNode.open = false;
  title.focus({ preventScroll: true });
};

function queryControls(viewer) {
  const tools = { rectangle: "selects a rectangle", lasso: "paints a lasso", pan: "moves the picture" };
  return [
    button("Most different pair", once(() => viewer.pinMostDifferent())),
    button("Grid of queries", once(() => viewer.pinGrid())),
    button("Remove all", once(() => viewer.clear())),
    line("Dragging", choice("Dragging", tools, viewer.settings.tool, (value) => viewer.set("tool", value))),
    element("p", { class: "hint" }, "Click pins a query, Shift-click adds one. A region shows the mean of its pixels' maps."),
  ];
}

function saveControls(viewer) {
  const items = [
    button("Picture of this view (PNG)", () => viewer.savePng()),
    button("Vector drawing (SVG)", () => viewer.saveSvg()),
    ...viewer.records.map(({ title }, index) =>
      button(`Record of ${title} (safetensors)`, () => viewer.saveRecord(index)),
    ),
  ];
  if (viewer.canSavePage) items.push(button("Live page, works offline (HTML)", () => viewer.savePage()));
  if (viewer.config.linkable) items.push(button("Copy link", (event) => viewer.copyLink(event.target)));
  return items;
}

/** Return the list of pinned queries: choose, rename, reorder, remove. */
export function buildQueryList(viewer) {
  return element(
    "ul",
    { class: "queries", "aria-label": "Pinned queries" },
    ...viewer.queries.map((query, index) => {
      const active = index === viewer.active;
      const name = viewer.nameOf(query);
      const item = element(
        "li",
        { class: active ? "active" : "", style: `--pin: ${pinColor(index)}` },
        button("", () => viewer.activate(index), { class: "choose", "aria-pressed": String(active) }),
      );
      item.firstChild.append(element("b", { class: "number" }, String(index + 1)), element("span", {}, name));
      if (active && viewer.queries.length > 1) {
        item.append(
          button("‹", () => viewer.move(index, -1), { "aria-label": `Move query ${index + 1} up`, title: "Earlier ([)" }),
          button("›", () => viewer.move(index, 1), { "aria-label": `Move query ${index + 1} down`, title: "Later (])" }),
        );
      }
      if (active) {
        item.append(button("✎", () => rename(viewer, item, query), { "aria-label": `Rename query ${index + 1}`, title: "Rename (N)", class: "rename" }));
      }
      item.append(button("×", () => viewer.remove(index), { "aria-label": `Remove query ${index + 1}`, title: "Remove (Delete)" }));
      return item;
    }),
  );
}

export function rename(viewer, item, query) {
  const field = element("input", {
    type: "text",
    maxlength: "40",
    "aria-label": "Name of the query",
    value: query.name ?? "",
    placeholder: viewer.nameOf({ ...query, name: "" }),
    onkeydown: (event) => {
      if (event.key === "Enter") viewer.rename(query, field.value);
      else if (event.key === "Escape") viewer.rename(query, query.name ?? "");
      else return;
      event.preventDefault();
    },
    onblur: () => viewer.rename(query, field.value),
  });
  item.replaceChildren(field);
  field.focus();
  field.select();
}

const KEYS = [
  ["Arrow keys", "move the query by a cell (Shift: by five)"],
  ["Page Up, Page Down", "move it by ten rows"],
  ["Home, End", "move it to the start or the end of its row"],
  ["Enter", "pin the query, or let it go"],
  ["Shift + Enter", "pin one more query here"],
  ["R", "mark a corner here; then, elsewhere, take the region between"],
  ["1 to 9", "choose one of the pins"],
  ["Delete", "remove the chosen query"],
  ["[ and ]", "move it earlier or later in the list"],
  ["N", "rename it"],
  ["Esc", "remove all queries"],
  ["O", "switch the maps off and on"],
  ["D", "where this pixel looks / who looks here"],
  ["A, B, C", "arrows, boxes, contours"],
  ["+, −, Backspace", "zoom in, out, fit"],
  ["?", "this list"],
];

const POINTER = [
  ["Hover, click", "preview a query, pin it; click it again to let it go"],
  ["Shift + click, long press", "pin one more"],
  ["Drag", "the mean attention of a region (Alt: lasso; Shift: one more)"],
  ["Ctrl + wheel", "zoom; drag with the middle button to move"],
];

export function buildHelp() {
  const rows = (pairs) => pairs.flatMap(([key, text]) => [element("dt", {}, key), element("dd", {}, text)]);
  const dialog = element(
    "dialog",
    { class: "help", "aria-label": "Keyboard and pointer", onclick: (event) => event.target === dialog && dialog.close() },
    element(
      "div",
      {},
      element("h3", {}, "Pointer"),
      element("dl", {}, ...rows(POINTER)),
      element("h3", {}, "Keyboard, when the maps have the focus"),
      element("dl", {}, ...rows(KEYS)),
      button("Close", () => dialog.close()),
    ),
  );
  return dialog;
}
