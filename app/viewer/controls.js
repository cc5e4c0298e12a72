/** The toolbar with its menus: settings from their schema, and what acts on the view. */

import { button, element } from "./elements.js";
import { icon } from "./icons.js";
import SETTINGS from "./settings.json";

/** @type {Setting[]} */
const SCHEMA = /** @type {any} */ (SETTINGS);

/** The maps of a record, in their order, and what they are called. */
export const TITLES = {
  whole: "Whole attention",
  pairwise: "Pairwise term",
  unary: "Unary term",
  dependence: "Query dependence",
};

export const MAPS = Object.keys(TITLES);

export const MOST_SHOWN = 4;

/** Choices outlive the picture and the viewer they were made in. */
export const remembered = Object.fromEntries(SCHEMA.map(({ name, default: value }) => [name, value]));

/** The settings that belong to a view: all but the tool in hand. */
export const VIEWED = SCHEMA.filter(({ name, link }) => link || SCHEMA.some(({ count }) => count === name)).map(({ name }) => name);

/** Return what settings of a view are told in words, in a file that is saved. */
export function settingsInWords(settings) {
  const words = SCHEMA.map(({ name, said, default: usual }) => {
    const value = settings[name];
    if (typeof said === "string") return value === usual ? "" : said;
    const word = said?.[value];
    return word && name === "scale" && value === "fixed" ? `${word} up to ${settings.fixed}` : word;
  });
  return words.filter(Boolean);
}

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

function check(label, checked, onchange, title = null, image = null) {
  const node = element("input", { type: "checkbox", onchange: () => onchange(node.checked, node) });
  node.checked = checked;
  return element("label", { title }, node, ...(image ? [icon(image)] : []), element("span", {}, label));
}

/**
 * @param {string} label
 * @param {number} value
 * @param {{ low?: number, high?: number, step?: any }} range
 * @param {(chosen: number) => void} oninput
 */
function amount(label, value, { low, high, step }, oninput) {
  const node = element("input", { type: "number", min: low, max: high, step: step ?? 1, value, "aria-label": label });
  node.addEventListener("input", () => {
    const chosen = Number(node.value);
    if (node.value !== "" && chosen >= low && chosen <= high) oninput(chosen);
  });
  return node;
}

const line = (label, control) => element("label", { class: "line" }, element("span", {}, label), control);

/** Whether what a setting is about is there at all. */
const THERE = {
  signed: ({ records }) => records.length > 1 || records.some(({ spec }) => spec.signed),
  unsigned: ({ records }) => records.some(({ spec }) => !spec.signed),
  predicted: ({ predictions }) => predictions.some(Boolean),
  clip: ({ frames }) => frames > 1,
  spacetime: ({ frames, leading }) => frames > 1 && leading.spacetime,
  tokens: ({ records }) => records.some(({ spec, attention: { keyAxis } }) => !spec.signed && keyAxis.placed && keyAxis.names.length),
  flow: ({ records }) => records.some(({ flow }) => flow),
};

/**
 * Return the choices of a setting: its own, or names that the payload brings.
 *
 * @param {Setting} setting
 * @param {any} viewer
 * @returns {Record<string, string>}
 */
function choicesOf({ name, choices }, { config, records }) {
  if (typeof choices === "string") return Object.fromEntries(config[choices].map((one) => [one, one]));
  if (name !== "scale" || records.some(({ spec }) => !spec.signed)) return choices;
  const { log, ...linear } = choices; // 0 and below have no logarithm
  return linear;
}

/**
 * Return the control of a setting, and note it, so that whatever changes the setting shows there.
 *
 * @param {Setting} setting
 * @param {any} viewer
 * @returns {HTMLElement}
 */
function control(setting, viewer) {
  const { name, type, label, title, spoken, count } = setting;
  const value = viewer.settings[name];
  const set = (chosen) => viewer.choices.set(name, chosen);
  const note = (node) => (viewer.choices.controls[name] = node);
  if (type === "flag") {
    const node = check(label, value, set, title, setting.icon);
    note(node.querySelector("input")).dataset.choice = name;
    if (!count) return node;
    const counted = SCHEMA.find((other) => other.name === count);
    const many = amount(`${label}: how many`, viewer.settings[count], counted, (chosen) => viewer.choices.set(count, chosen));
    viewer.choices.controls[count] = many;
    return element("div", { class: "counted" }, node, many);
  }
  if (type === "choice") {
    const signedOnly = viewer.records.every(({ spec }) => spec.signed);
    const words = name === "signedPalette" && signedOnly ? "Colors" : label;
    const node = note(choice(words, choicesOf(setting, viewer), value, set));
    return setting.menu === "bar" ? node : line(words, node);
  }
  if (name === "opacity") {
    const node = note(
      element("input", { type: "range", min: setting.low, max: setting.high, step: setting.step, value, oninput: () => set(Number(node.value)) }),
    );
    return element("label", { title }, element("span", {}, label), node);
  }
  const node = line(label, note(amount(spoken ?? label, value, { step: "any", ...setting }, set)));
  if (title) node.title = title;
  return node;
}

/** Return the controls of the settings that a menu holds, or the toolbar itself ("bar"). */
export function controlsOf(menuName, viewer) {
  const inMenu = SCHEMA.filter(({ menu, of }) => menu === menuName && (!of || THERE[of](viewer)));
  return inMenu.map((setting) => control(setting, viewer));
}

/** Return a button that opens a panel of controls; one is open at a time, Escape closes it. */
function menu(title, image, words, ...children) {
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
    element("summary", { title: words }, icon(image), title),
    body,
  );
  return node;
}

/** Build the toolbar of a viewer, once for each payload. */
export function buildToolbar(viewer) {
  viewer.choices.controls = {};
  const act = (image, label, onclick) => button(icon(image), onclick, { "aria-label": label, title: label, class: "act" });
  const fixed = control(SCHEMA.find(({ name }) => name === "fixed"), viewer);
  fixed.classList.add("fixed");
  const bar = controlsOf("bar", viewer);
  bar.splice(2, 0, fixed);
  viewer.undoButton = act("undo", "Undo the last pin (U)", () => viewer.selection.undo());
  const full = document.fullscreenEnabled ? [act("full", "Full screen (F)", () => viewer.toggleFullScreen())] : [];
  return element(
    "div",
    { class: "toolbar", role: "group", "aria-label": "How maps are drawn" },
    ...bar,
    element(
      "div",
      { class: "menus" },
      menu("Marks", "marks", "Arrows, boxes and contours on the maps", ...controlsOf("marks", viewer), markHint()),
      ...(viewer.records.length > 1 ? [menu("Compare", "compare", "Networks side by side, and their difference", ...compareControls(viewer))] : []),
      menu("View", "view", "Maps, colors and zoom", ...viewControls(viewer)),
      menu("Queries", "pins", "Pins: grids, pairs, what dragging does", ...queryControls(viewer)),
      menu("Save", "save", "Pictures, records, a page, a link", ...saveControls(viewer)),
      viewer.undoButton,
      ...full,
      button("?", () => viewer.showHelp(), { "aria-label": "Keyboard help", title: "Keyboard help (?)", class: "act" }),
    ),
  );
}

const group = (title, ...children) => element("fieldset", {}, element("legend", {}, title), ...children);

function viewControls(viewer) {
  const maps = MAPS.map((term) =>
    check(TITLES[term], viewer.terms.includes(term), (on, node) => viewer.choices.toggleTerm(term, on, node)),
  );
  return [
    ...controlsOf("view", viewer),
    group("Maps", ...maps),
    element(
      "div",
      { class: "buttons" },
      button("Zoom in", () => viewer.camera.zoom(1.5), { title: "+" }),
      button("Zoom out", () => viewer.camera.zoom(1 / 1.5), { title: "−" }),
      button("Fit", () => viewer.camera.zoom(0), { title: "Backspace" }),
    ),
  ];
}

function compareControls(viewer) {
  const { records, choices } = viewer;
  const side = records.map(({ title }, index) =>
    check(title, viewer.shown.includes(index), (on, node) => choices.toggleRecord(index, on, node)),
  );
  const difference = choice("Difference", choices.differenceOptions(), viewer.difference.join("-"), (value) =>
    choices.setDifference(value === "" ? [] : value.split("-").map(Number)),
  );
  return [group(`Side by side (at most ${MOST_SHOWN})`, ...side), line("Difference", difference)];
}

function markHint() {
  const words = "cells of the query: they get no mark, so that a pixel's look at itself does not hide the rest. Where values tie, none is marked.";
  return element("p", { class: "hint" }, words);
}

/** Return a listener that does something and closes the menu, which would cover what it did. */
const once = (act) => (event) => {
  const { firstChild: title } = event.target.closest(".menu");
  act();
  title.parentNode.open = false;
  title.focus({ preventScroll: true });
};

function queryControls(viewer) {
  return [
    button("Most different pair", once(() => viewer.selection.pinMostDifferent())),
    button("Grid of queries", once(() => viewer.selection.pinGrid())),
    button("Remove all", once(() => viewer.selection.clear())),
    ...controlsOf("queries", viewer),
    element("p", { class: "hint" }, `${viewer.touch ? "A tap pins a query, a long press adds one" : "Click pins a query, Shift-click adds one"}. A region shows the mean of its pixels' maps.`),
  ];
}

function saveControls(viewer) {
  const { saving, records, config } = viewer;
  const items = [
    button("Picture of this view (PNG)", () => saving.savePng()),
    ...(saving.canCopy ? [button("Copy the picture", (event) => saving.copyPicture(event.target))] : []),
    button("Vector drawing (SVG)", () => saving.saveSvg()),
    ...records.map(({ title }, index) => button(`Record of ${title} (safetensors)`, () => saving.saveRecord(index))),
  ];
  if (saving.canSavePage) items.push(button("Live page, works offline (HTML)", () => saving.savePage()));
  if (config.linkable) items.push(button("Copy link", (event) => saving.copyLink(event.target)));
  return items;
}
