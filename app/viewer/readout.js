/** The numbers below the maps, in words for screen readers too. */

import { rankOf } from "./attention.js";
import { formatValue } from "./color.js";
import { element, setText } from "./elements.js";
import { cellOf, centerOf, middleOf, positionAt, positionsOf, positionsWhere, sumWithin } from "./geometry.js";
import { UNITS } from "./panel.js";

const DISC_SHARE = 0.05; // radius of the readout's disc, of the image's shorter side

export class Readout {
  constructor(viewer) {
    this.viewer = viewer;
    this.status = element("div", { class: "announcement", role: "status", "aria-live": "polite" });
  }

  build() {
    const { config, records, frames, leading } = this.viewer;
    this.fields = {};
    const field = (name, label) => {
      this.fields[name] = element("dd", { "data-field": name });
      this.fields[`${name}Label`] = element("dt", {}, label);
      return element("div", {}, this.fields[`${name}Label`], this.fields[name]);
    };
    const { width, height } = config.image;
    this.discRadius = Math.max(2, Math.round(DISC_SHARE * Math.min(width, height)));
    return element(
      "dl",
      { class: "readout" },
      ...(records.length > 1 ? [field("of", "Numbers of")] : []),
      field("query", "Query"),
      field("cursor", "Under the cursor"),
      field("value", "Whole attention there"),
      field("rank", "Rank there"),
      field("disc", `Within ${this.discRadius} pixels of it`),
      field("entropy", "Entropy of this row"),
      field("share", "Pairwise share of this row"),
      ...(frames > 1
        ? [field("strongest", "Strongest key"), field("own", leading.spacetime ? "Attention within its own frame" : "Frames it is seen in")]
        : []),
    );
  }

  /** Read everything anew: after every move of the cursor, the query or the time. */
  read() {
    const { viewer, fields } = this;
    const { selection, leading, frame } = viewer;
    const { spec } = leading;
    const { cursor, onToken } = selection;
    for (const panel of viewer.panels) {
      if (panel.isMap) panel.readValue(positionAt(cursor, panel.grid), onToken);
      else setText(panel.value, this.hintOf());
    }
    const column = viewer.settings.direction === "column";
    const rows = viewer.rowsOf(viewer.rows[Math.min(selection.active, viewer.rows.length - 1)], viewer.shown[0]);
    const row = rows.row(frame); // over all frames that it spreads over
    const maps = rows.at(frame);
    const onto = column ? spec.query_grid : spec.key_grid;
    // the token or the cell under the cursor, among all that the row is over
    const at = maps && onToken === null ? positionAt(cursor, onto) : null;
    const key = onToken !== null ? (row?.axis.index(onToken) ?? null) : at === null ? null : row.axis.at(maps.from + at);
    const itself = !selection.queries.length && (onToken === null ? viewer.queryGrid !== null : selection.live.token === onToken);
    setText(fields.query, this.placeOf(selection.current));
    setText(fields.cursor, itself ? "the query itself" : onToken !== null ? this.offPicture(onToken) : this.describe(positionAt(cursor, onto), onto));
    if (fields.of) setText(fields.of, leading.title);
    const { suffix } = UNITS[spec.signed ? "logit" : "uniform"];
    setText(fields.value, key === null ? (maps?.absent?.[at] ? "no key there" : "–") : formatValue(row.whole[key]) + suffix);
    setText(fields.discLabel, `Within ${this.discRadius} pixels of it`);
    setText(fields.entropyLabel, column ? "Looked at, on average" : "Entropy of this row");
    if (!row) {
      for (const name of ["rank", "disc", "entropy", "share"]) setText(fields[name], "–");
    } else {
      const { entropy, mean, pairwiseShare, count: cells } = leading.attention.statistics(row);
      setText(fields.rank, key === null || key >= cells ? "–" : `${rankOf(row.whole.subarray(0, cells), key)} of ${cells}`);
      const within = onToken !== null || !onto ? NaN : maps ? sumWithin(maps.whole, onto, cursor, this.discRadius) / (mean * cells) : 0;
      const disc = Number.isFinite(within);
      setText(fields.disc, spec.signed ? "none: no softmax" : !disc ? "–" : `${(100 * within).toPrecision(3)} % of ${column ? "all looks here" : "the row"}`);
      const bits = `${entropy.toFixed(2)} of ${Math.log2(cells).toFixed(2)} bits`;
      setText(fields.entropy, column ? formatValue(mean) + suffix : Number.isFinite(entropy) ? bits : "none: no softmax");
      setText(fields.share, Number.isFinite(pairwiseShare) ? `${(100 * pairwiseShare).toFixed(0)} %` : column ? "none: of rows alone" : "none");
    }
    if (fields.own) this.readOverTime(rows, row);
    this.viewer.keys.update(rows, row);
    this.announce(rows, row, key);
  }

  /** What stands over the photo: whether something is pinned, and which frame this is. */
  hintOf() {
    const { selection, frames, frame, queryGrid } = this.viewer;
    const time = frames > 1 ? `frame ${frame + 1} of ${frames}` : "";
    if (selection.queries.length > 1) return time;
    const pinned = selection.queries.length > 0;
    if (time) return `${time}${pinned ? " · pinned" : ""}`;
    if (this.viewer.touch) return pinned ? "pinned: tap it to clear" : "tap to pin";
    return pinned ? "pinned: Esc clears" : queryGrid ? "hovering: click to pin" : "point at a token below";
  }

  /** Read what only clips have: where in time the row is, and how much of it in its own frame. */
  readOverTime(rows, row) {
    const { fields } = this;
    const { leading, selection, frames } = this.viewer;
    const { spec, spacetime } = leading;
    const { suffix } = UNITS[spec.signed ? "logit" : "uniform"];
    const strongest = row && this.strongestOf(rows, row);
    setText(fields.strongest, strongest ? `${strongest.place}: ${formatValue(strongest.value)}${suffix}` : "–");
    if (!spacetime) {
      setText(fields.own, `${rows.places.filter(Boolean).length} of ${frames}`);
      return;
    }
    const share = row && !spec.signed && selection.current.token === undefined ? rows.shares("whole")[selection.current.frame ?? 0] : NaN;
    const uniform = 100 / frames;
    setText(fields.own, Number.isFinite(share) ? `${(100 * share).toFixed(1)} % · uniform ${uniform.toFixed(1)} %` : spec.signed ? "none: no softmax" : "–");
  }

  /** Return where the greatest weight of a row is, in words, and what it is. */
  strongestOf(rows, { whole, axis, onPicture }) {
    const { leading, frame, frames } = this.viewer;
    let index = -1;
    for (let j = 0; j < (onPicture ? axis.placed : whole.length); j++) {
      if (index < 0 ? whole[j] === whole[j] : whole[j] > whole[index]) index = j;
    }
    if (index < 0) return null;
    const cell = axis.cell(index);
    if (cell === null) return { value: whole[index], place: axis.name(index) };
    const { x, y } = centerOf(cell % axis.size, axis.grid);
    let time = "";
    if (leading.spacetime && frames > 1) {
      time = `frame ${leading.clipFrame(rows.partAt(frame), Math.floor(cell / axis.size), !rows.column) + 1} · `;
    }
    return { value: whole[index], place: `${time}x ${Math.floor(x)}, y ${Math.floor(y)}` };
  }

  /**
   * What a query is called: its own name, its token's, or where it is.
   *
   * @param {Query} query
   */
  nameOf({ points, token, category, name }) {
    if (name) return name;
    if (token !== undefined) return token;
    if (category) return `all ${category}`;
    const { x, y } = middleOf(points);
    return `${points.length > 1 ? "region at " : ""}x ${Math.floor(x)}, y ${Math.floor(y)}`;
  }

  /** Where a query is; `short` without its pixel, for where that is its title. */
  placeOf(query, { short = false } = {}) {
    const { viewer } = this;
    const { points } = query;
    const time = viewer.frames > 1 ? `${this.timeOf(query.frame)} · ` : "";
    if (query.token !== undefined) return short && !query.name ? "off the picture" : this.offPicture(query.token);
    if (points.length === 1 && !query.category) return time + this.describe(positionAt(points[0], viewer.queryGrid), viewer.queryGrid, { short, frame: query.frame });
    const row = viewer.rows?.find((row) => row.query === query);
    const maps = row && viewer.rowsOf(row, viewer.shown[0]).row(viewer.frame);
    const holds = viewer.classHeld(query);
    const positions = () => (holds ? positionsWhere((middle) => holds(middle, query.frame), viewer.queryGrid) : positionsOf(points, viewer.queryGrid));
    const cells = maps ?? { cells: 0, of: positions().length };
    const mean = cells.of > cells.cells && cells.cells ? `mean of ${cells.cells} of its ${cells.of} cells` : `mean of ${cells.of} cells`;
    return time + (short ? mean : `${this.nameOf({ ...query, name: "" })} · ${mean}`);
  }

  /** What a token is, that lies nowhere. */
  offPicture(token) {
    return `${token} · a token off the picture`;
  }

  /** Return a frame as people count them, and when it is. */
  timeOf(frame = 0) {
    return `frame ${frame + 1} (${this.viewer.config.frames[frame].time.toFixed(2)} s)`;
  }

  /** Return the predicted class of a cell of the leading record, if there is one. */
  classOf(position, grid, frame = this.viewer.frame) {
    const { leading } = this.viewer;
    if (position === null || !(grid === leading.spec.query_grid || leading.sameGrid)) return null;
    return leading.spec.classes?.[leading.arraysAt(frame).cell_classes?.[position]]?.name ?? null;
  }

  /** Return the predicted class at a point of a frame, if there is one. */
  classAt(point, frame = this.viewer.frame) {
    const grid = this.viewer.leading.spec.query_grid;
    return grid ? this.classOf(positionAt(point, grid), grid, frame) : null;
  }

  describe(position, grid, { short = false, frame = this.viewer.frame } = {}) {
    if (position === null) return "–";
    const { row, col } = cellOf(position, grid);
    const { x, y } = centerOf(position, grid);
    const name = this.classOf(position, grid, frame);
    const place = `${short ? "" : `x ${Math.floor(x)}, y ${Math.floor(y)} · `}row ${row}, column ${col}`;
    return name ? `${place} · ${name}` : place;
  }

  /** Tell screen readers, once the query has rested for a moment. */
  announce(rows, row, key) {
    const { viewer } = this;
    clearTimeout(this.announcing);
    if (viewer.timeline.playing) return; // nobody could follow
    this.announcing = setTimeout(() => {
      const { selection } = viewer;
      const strongest = row && this.strongestOf(rows, row);
      if (!strongest) return;
      const column = viewer.settings.direction === "column";
      const unit = UNITS[viewer.leading.spec.signed ? "logit" : "uniform"];
      const number = selection.queries.length > 1 ? ` ${selection.active + 1}` : "";
      const said = (name) => this.fields[name].textContent;
      const share = column ? "" : ` Pairwise share ${said("share")}.`;
      const value = viewer.rows.length && key !== null ? said("value").replace(unit.suffix, "") : "–";
      const under =
        value === "–"
          ? ""
          : ` Under the cursor, ${said("cursor")}: ${value} ${unit.spoken}, rank ${said("rank")}; ` +
            `${said("discLabel").toLowerCase()}: ${said("disc")}.`;
      const showing = viewer.frames > 1 ? ` Showing frame ${viewer.frame + 1}.` : "";
      setText(
        this.status,
        `Query${number} ${this.placeOf(selection.current)}. ${column ? "Strongest look comes from" : "Strongest key at"} ` +
          `${strongest.place}: ${formatValue(strongest.value)} ${unit.spoken}. ` +
          `${said("entropyLabel")} ${said("entropy")}.${share}${under}${showing} ${selection.cornerInWords()}`.trim(),
      );
    }, 500);
  }
}
