/** Settings and what is chosen to be shown: from the toolbar, from the host, and told to it. */

import { faded } from "./color.js";
import { MAPS, MOST_SHOWN, VIEWED, remembered } from "./controls.js";
import { MOST_QUERIES } from "./selection.js";

const rounded = ({ x, y }) => [Math.round(x * 10) / 10, Math.round(y * 10) / 10];

export class Choices {
  constructor(viewer) {
    this.viewer = viewer;
    this.controls = {}; // of the toolbar, by their settings
  }

  /** Take over queries and settings that the host gives; what makes no sense is left out. */
  readView(view) {
    const { selection } = this.viewer;
    const { width, height } = this.viewer.config.image;
    const inside = ([x, y]) => x >= 0 && y >= 0 && x < width && y < height;
    const there = ({ points, token }) => (token === undefined ? points?.length && points.every(inside) : this.viewer.tokens.knows(token));
    const { frames } = this.viewer;
    const inTime = (frame) => (Number.isInteger(frame) ? Math.min(Math.max(frame, 0), frames - 1) : Math.floor(frames / 2));
    if (Array.isArray(view.queries)) {
      selection.queries = view.queries
        .filter(there)
        .slice(0, MOST_QUERIES)
        .map(({ points = [], token, category, name, frame }) => ({ points: points.map(([x, y]) => ({ x, y })), token, category, name: name ?? "", frame: inTime(frame) }));
      const last = Math.max(0, selection.queries.length - 1);
      selection.active = Number.isInteger(view.active) && view.active >= 0 && view.active < last ? view.active : last;
      if (selection.queries.length) {
        selection.goTo(selection.queries[selection.active]);
        this.viewer.frame = selection.queries[selection.active].frame;
      }
    }
    if (Number.isInteger(view.frame)) this.viewer.frame = inTime(view.frame);
    const { settings } = this.viewer;
    for (const name of VIEWED) {
      if (view[name] !== undefined && typeof view[name] === typeof settings[name]) settings[name] = view[name];
    }
    if (!(settings.palette in this.viewer.palettes)) settings.palette = remembered.palette;
    if (!(settings.signedPalette in this.viewer.palettes)) settings.signedPalette = remembered.signedPalette;
    const shows = Array.isArray(view.terms) && MAPS.some((term) => view.terms.includes(term));
    if (shows) this.viewer.terms = MAPS.filter((term) => view.terms.includes(term));
    const known = (index) => Number.isInteger(index) && index >= 0 && index < this.viewer.records.length;
    if (Array.isArray(view.shown) && view.shown.some(known)) this.viewer.shown = view.shown.filter(known).slice(0, MOST_SHOWN);
    if (Array.isArray(view.difference)) this.viewer.difference = view.difference.filter(known);
    this.checkDifference();
  }

  /** Return what the host is told: pinned queries in image pixels, and the settings. */
  describeView() {
    const { selection } = this.viewer;
    return {
      query: selection.pinned,
      queries: selection.queries.map(({ points, token, category, name, frame }) => ({
        ...(token === undefined ? { points: points.map(rounded) } : { token }),
        ...(category ? { category } : {}),
        name: name ?? "",
        ...(this.viewer.frames > 1 ? { frame } : {}),
      })),
      ...(this.viewer.frames > 1 ? { frame: this.viewer.frame } : {}),
      active: selection.active,
      ...Object.fromEntries(VIEWED.map((name) => [name, this.viewer.settings[name]])),
      terms: this.viewer.terms,
      shown: this.viewer.shown,
      difference: this.viewer.difference,
    };
  }

  /** Let the control of a setting, if there is one, say what it is. */
  show(setting) {
    const control = this.controls[setting];
    const value = this.viewer.settings[setting];
    if (!control) return;
    if (control.type === "checkbox") control.checked = value;
    else if (control !== control.getRootNode().activeElement) control.value = value;
  }

  set(setting, value) {
    this.viewer.settings[setting] = value;
    remembered[setting] = value;
    this.show(setting);
    if (this.viewer.structureKey() === this.viewer.structure) {
      this.applySettings();
      if (setting === "follow" || setting === "onPicture") for (const row of this.viewer.rows) this.viewer.compute(row);
      this.viewer.paint();
    } else this.viewer.layOut();
    this.viewer.tell(600);
  }

  applySettings() {
    const { settings, root } = this.viewer;
    root.style.setProperty("--opacity", settings.opacity);
    root.classList.toggle("smooth", settings.smooth);
    root.classList.toggle("gray", settings.gray);
    root.classList.toggle("fixing", settings.scale === "fixed");
    root.classList.toggle("predicting", settings.prediction && Boolean(this.viewer.predictions[this.viewer.shown[0]]));
    this.viewer.stagesNode.dataset.tool = settings.tool;
    this.viewer.stagesNode.dataset.direction = settings.direction;
    const words = (name, signed) => {
      const palette = this.viewer.palettes[name];
      return settings.fade ? faded(palette, signed) : palette;
    };
    const [signed, unsigned] = [words(settings.signedPalette, true), words(settings.palette, false)];
    for (const panel of this.viewer.panels) if (panel.bar) panel.setPalette(panel.signed ? signed : unsigned);
  }

  toggleTerm(term, on, node) {
    const terms = MAPS.filter((other) => (other === term ? on : this.viewer.terms.includes(other)));
    if (!terms.length) {
      node.checked = true; // one map must be there
      return;
    }
    this.viewer.terms = terms;
    this.viewer.layOut();
    this.viewer.tell(600);
  }

  toggleRecord(index, on, node) {
    const shown = this.viewer.records.map((_, at) => at).filter((at) => (at === index ? on : this.viewer.shown.includes(at)));
    if (!shown.length || shown.length > MOST_SHOWN) {
      node.checked = !on;
      return;
    }
    this.viewer.shown = shown;
    this.viewer.layOut();
    this.viewer.tell(600);
  }

  /** The pairs of records whose maps can be subtracted: those of one unit. */
  differenceOptions() {
    const { records } = this.viewer;
    const options = { "": "none" };
    for (const [a, one] of records.entries()) {
      for (const [b, other] of records.entries()) {
        if (a < b && one.spec.signed === other.spec.signed) options[`${a}-${b}`] = `${one.title} − ${other.title}`;
      }
    }
    return options;
  }

  setDifference(pair) {
    this.viewer.difference = pair;
    this.checkDifference();
    this.viewer.layOut();
    this.viewer.tell(600);
  }

  checkDifference() {
    if (!(this.viewer.difference.join("-") in this.differenceOptions())) this.viewer.difference = [];
  }

  toggleMaps() {
    const { settings } = this.viewer;
    const { opacity } = settings;
    if (opacity > 0) this.viewer.lastOpacity = opacity;
    this.set("opacity", opacity > 0 ? 0 : this.viewer.lastOpacity ?? remembered.opacity);
  }

  toggleDirection() {
    const { settings } = this.viewer;
    this.set("direction", settings.direction === "row" ? "column" : "row");
  }
}
