/** One color bar for all maps that share a scale: its top can be dragged and typed. */

import { formatValue } from "./color.js";
import { element, setText } from "./elements.js";
import { countsInWords, paintBar, placeTicks } from "./panel.js";

const DOUBLING_PIXELS = 120; // a drag of so many doubles or halves the top
const KEY_FACTOR = 1.1;
const FACTORS = { ArrowLeft: 1 / KEY_FACTOR, ArrowDown: 1 / KEY_FACTOR, ArrowRight: KEY_FACTOR, ArrowUp: KEY_FACTOR };

export class ColorBar {
  constructor(viewer) {
    this.viewer = viewer;
  }

  build() {
    this.palette = null;
    this.bar = element("canvas", { class: "common-bar", width: 256, height: 1, "aria-hidden": "true" });
    this.handle = element("span", {
      class: "handle",
      role: "slider",
      tabindex: "0",
      title: "Drag the top of the scale; double-click: as it was",
      "aria-label": "Top of the color scale",
      onpointerdown: (event) => this.grab(event),
      onpointermove: (event) => this.drag(event),
      onpointerup: () => (this.held = null),
      onpointercancel: () => (this.held = null),
      ondblclick: () => this.viewer.choices.set("scale", "shared"),
      onkeydown: (event) => {
        if (!(event.key in FACTORS)) return;
        event.preventDefault();
        this.setTop(this.high * FACTORS[event.key]);
      },
    });
    this.top = element("input", {
      type: "number",
      step: "any",
      min: "0",
      "aria-label": "Top of the scale",
      title: "The value of the scale's top: type another",
      onchange: () => Number(this.top.value) > 0 && this.setTop(Number(this.top.value)),
    });
    this.ticks = element("div", { class: "common-ticks" });
    this.unit = element("span", { class: "common-unit" });
    this.badge = element("span", { class: "common-badge" });
    const ends = [element("span", { class: "above" }), element("span", { class: "below" })];
    this.node = element(
      "div",
      { class: "common", onkeydown: (event) => event.stopPropagation() }, // these keys are not the maps'
      element("div", { class: "bar-box" }, this.bar, ...ends, this.handle),
      this.ticks,
      element("div", { class: "common-words" }, this.unit, this.badge, element("label", {}, element("span", {}, "top"), this.top)),
    );
    return this.node;
  }

  grab(event) {
    this.handle.setPointerCapture(event.pointerId);
    this.held = { x: event.clientX, high: this.high };
    event.preventDefault();
    event.stopPropagation();
  }

  drag(event) {
    if (this.held) this.setTop(this.held.high * 2 ** ((event.clientX - this.held.x) / DOUBLING_PIXELS));
  }

  /** Make the scale a fixed one with this top. */
  setTop(value) {
    const { choices, settings } = this.viewer;
    settings.scale = "fixed";
    choices.show("scale");
    choices.set("fixed", Math.min(Math.max(Number(value.toPrecision(2)), 1e-6), 1e6));
    choices.show("fixed");
  }

  /** The panels that share one scale and one unit; none where maps have scales of their own. */
  get sharing() {
    const { panels, settings } = this.viewer;
    const maps = panels.filter(({ isMap, difference, name }) => isMap && !difference && name !== "dependence");
    if (settings.scale === "per-map" || !maps.length || maps.some(({ signed }) => signed !== maps[0].signed)) return [];
    return maps;
  }

  /** Show what the maps were painted with. */
  update() {
    const maps = this.sharing;
    this.viewer.root.classList.toggle("one-scale", maps.length > 0);
    if (!maps.length) return;
    const { settings } = this.viewer;
    const { range, unit, signed, palette } = maps[0];
    this.high = range.high;
    if (palette !== this.palette) paintBar(this.bar, (this.palette = palette));
    placeTicks(this.ticks, range, unit, signed, 0.03);
    const sum = (name) => maps.reduce((total, panel) => total + (panel[name] ?? 0), 0);
    const [clipped, floored] = [sum("clipped"), sum("floored")];
    this.node.classList.toggle("clipping", clipped > 0);
    this.node.classList.toggle("signed", signed);
    setText(this.unit, unit.name);
    setText(this.badge, countsInWords({ clipped, floored, range, unit, signed }, settings.scale));
    if (this.top !== this.top.getRootNode().activeElement) this.top.value = String(Number(range.high.toPrecision(3)));
    this.handle.setAttribute("aria-valuenow", String(range.high));
    this.handle.setAttribute("aria-valuetext", `${formatValue(range.high)} ${unit.spoken}`);
    this.handle.hidden = settings.scale === "log"; // whose ends stand for what there is
  }
}
