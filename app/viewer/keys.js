/** The strongest keys of the query, as chips that light their cells. */

import { formatValue } from "./color.js";
import { button, element, setText } from "./elements.js";
import { centerOf } from "./geometry.js";
import { strongest } from "./marks.js";
import { UNITS } from "./panel.js";

const CHIPS = 5;

export class StrongestKeys {
  constructor(viewer) {
    this.viewer = viewer;
    this.lit = null; // { position, grid } of the cell, or the { token }, that a chip points at
  }

  build() {
    this.title = element("span", { class: "keys-title" });
    this.chips = Array.from({ length: CHIPS }, (_, index) =>
      button("", () => this.choose(index), {
        class: "chip",
        onpointerenter: () => this.light(index),
        onpointerleave: () => this.light(null),
        onfocus: () => this.light(index),
        onblur: () => this.light(null),
      }),
    );
    this.lit = null;
    this.all = button("", () => this.viewer.selection.pinClass(this.category), {
      class: "chip all",
      title: "Ask for all that is predicted so: the mean of its maps (S); again: for this place alone",
    });
    return element("div", { class: "keys" }, this.all, this.title, ...this.chips);
  }

  /** Offer all of the class that the pinned query lies in. */
  offerAll() {
    const { readout, selection } = this.viewer;
    const pinned = selection.queries[selection.active];
    const inClass = pinned?.points.length === 1 ? readout.classAt(pinned.points[0], pinned.frame) : null;
    this.category = pinned?.category ?? inClass;
    this.all.hidden = !this.category;
    if (!this.category) return;
    setText(this.all, `all ${this.category}`);
    this.all.setAttribute("aria-pressed", String(Boolean(pinned.category)));
  }

  /** Show the chips of a row: over all frames that it spreads over. */
  update(rows, row) {
    const { viewer, chips } = this;
    const { leading, settings, selection } = viewer;
    this.offerAll();
    const values = row?.onPicture ? row.whole.subarray(0, row.axis.placed) : row?.whole;
    this.found = values ? strongest(values, CHIPS) : [];
    this.rows = rows;
    this.axis = row?.axis;
    const { suffix } = UNITS[leading.spec.signed ? "logit" : "uniform"];
    const which = selection.queries.length > 1 ? ` of ${selection.active + 1}` : "";
    const words = settings.direction === "column" ? "Who looks here most" : `Strongest keys${which}`;
    setText(this.title, this.found.length || !values ? words : `${words}: none stands out, values tie`);
    for (const [index, chip] of chips.entries()) {
      const key = this.found[index];
      chip.hidden = key === undefined;
      if (chip.hidden) continue;
      setText(chip, `${this.nameOf(key)} ${formatValue(values[key])}${suffix}`);
    }
  }

  /** What a key is called: its name, or its class or place on the picture. */
  nameOf(key) {
    const { axis, viewer } = this;
    const cell = axis.cell(key);
    if (cell === null) return axis.name(key);
    const { x, y } = centerOf(cell % axis.size, axis.grid);
    const at = this.frameOf(cell);
    const name = viewer.readout.classOf(cell % axis.size, axis.grid, at) ?? `x ${Math.floor(x)}, y ${Math.floor(y)}`;
    return at === viewer.frame ? name : `frame ${at + 1}, ${name}`;
  }

  /** Return the frame of the clip that a cell belongs to. */
  frameOf(cell) {
    const { leading, frame, frames } = this.viewer;
    if (frames === 1 || !leading.spacetime) return frame;
    return leading.clipFrame(this.rows.partAt(frame), Math.floor(cell / this.axis.size), !this.rows.column);
  }

  light(index) {
    const { viewer } = this;
    const { axis } = this;
    const key = this.found[index];
    const cell = index === null || key === undefined ? undefined : axis.cell(key);
    this.lit = cell === undefined ? null : cell === null ? { token: axis.name(key) } : { position: cell % axis.size, grid: axis.grid };
    if (cell === null) viewer.tokens.bringIntoView(axis.name(key));
    viewer.stages.drawMarks();
  }

  /** Move the cursor to a key, in a clip also to its frame. */
  choose(index) {
    const { axis, viewer } = this;
    const key = this.found[index];
    const cell = axis.cell(key);
    viewer.selection.goTo(cell === null ? { points: [], token: axis.name(key) } : { points: [centerOf(cell % axis.size, axis.grid)] });
    if (cell !== null && viewer.frames > 1 && viewer.leading.spacetime) viewer.go(this.frameOf(cell));
    else {
      viewer.stages.drawMarks();
      viewer.readout.read();
    }
  }
}
