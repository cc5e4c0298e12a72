/**
 * Tokens that lie nowhere on the picture, as chips below it: class, registers, object queries, words.
 *
 * As queries they are pointed at like pixels; as keys each map has them with their share of its row.
 */

import { formatValue, pinColor } from "./color.js";
import { element, setText } from "./elements.js";
import { LONG_PRESS_MS } from "./pointer.js";

const FEW_TOKENS = 12; // more take the width of all maps, where these have none of their own

/** Return a share of a row in percent; what is not all of it is not rounded to that. */
export function percent(share) {
  if (!Number.isFinite(share)) return "–";
  const size = Math.abs(100 * share);
  const sign = share < 0 ? "−" : "";
  if (size > 0 && size < 0.05) return `${sign}< 0.1 %`;
  if (size < 100 && size >= 99.95) return `${sign}> 99.9 %`;
  return `${sign}${+size.toFixed(size < 10 || size > 99 ? 1 : 0)} %`;
}

/** Return how much of a map lies off the picture, and where, in words. */
export function offInWords(off, shares, names, { column, onPicture }) {
  if (!Number.isFinite(off)) return "";
  if (column) return `${percent(off)} of the looks at it come from off the picture`;
  const most = shares.indexOf(Math.max(...shares));
  const where =
    names.length === 1 ? `on the ${names[0]} token`
    : shares[most] >= off / 2 ? `off the picture, ${percent(shares[most])} on ${names[most]}`
    : "off the picture";
  return `${onPicture ? "left out: " : ""}${percent(off)} ${where}`;
}

export class Tokens {
  constructor(viewer) {
    this.viewer = viewer;
    this.scrolled = {}; // how far down, by panel
  }

  /** What the chosen record's queries (its keys, where the question is who looks) are called. */
  get names() {
    return this.namesOf(this.viewer.leading);
  }

  namesOf({ attention }, onto = false) {
    const column = this.viewer.settings.direction === "column";
    return (column === onto ? attention.queryAxis : attention.keyAxis).names;
  }

  /** Whether any record that is shown has a query, or a key, of this name. */
  knows(token) {
    return this.viewer.records.some(({ attention }) => attention.queryAxis.index(token) !== null || attention.keyAxis.index(token) !== null);
  }

  // -------------------------------------------------------------- building

  /** Put chips below a panel: of the photo all that can be asked, of a map all that have a part of it. */
  addTo(panel) {
    const { records, shown, difference } = this.viewer;
    const asked = [...new Set(shown.flatMap((index) => this.namesOf(records[index])))];
    // bits of dependence are of queries, whichever way the question goes
    const answering = (index) => (panel.name === "dependence" ? records[index].attention.queryAxis.names : this.namesOf(records[index], true));
    const of = panel.difference ? difference : [panel.record];
    const names = panel.isMap ? [...new Set(of.flatMap(answering))] : asked;
    if (!names.length) return;
    panel.names = names;
    const wide = !panel.isMap && names.length > FEW_TOKENS && !shown.some((index) => this.namesOf(records[index], true).length);
    panel.off = element("p", { class: "off" });
    panel.chips = new Map(names.map((name) => [name, this.chip(name, panel, asked.includes(name))]));
    const place = `${panel.name} ${panel.row} ${panel.record}`;
    panel.list = element(
      "div",
      {
        class: "token-list",
        role: "group",
        "aria-label": panel.isMap ? `Tokens off the picture: ${panel.name}` : "Queries off the picture",
        onscroll: () => (this.scrolled[place] = panel.list.scrollTop),
      },
      ...[...panel.chips.values()].map(({ node }) => node),
    );
    panel.strip = element("div", { class: `tokens${wide ? " wide" : ""}` }, panel.off, panel.list);
    if (!panel.isMap) setText(panel.off, names.length > FEW_TOKENS ? `Off the picture: ${names.length}` : "Off the picture");
    panel.stage.after(panel.strip);
    panel.settle = () => {
      if (panel.list.scrollHeight > panel.list.clientHeight + 1) panel.list.tabIndex = 0; // for who scrolls by keys
      panel.list.scrollTop = this.scrolled[place] ?? 0;
    };
  }

  chip(name, panel, asked) {
    const bar = element("i", { class: "part" });
    const share = element("span", { class: "share" });
    const label = element("span", { class: "name" }, name);
    const number = element("b", { class: "number", hidden: "" });
    const listeners = asked ? this.listeners(name) : { onpointerenter: () => this.enter(name, false), onpointerleave: () => this.leave() };
    const node = element(
      "button",
      { type: "button", class: `token${asked ? "" : " key"}`, tabindex: "-1", "data-token": name, title: name, "aria-pressed": "false", ...listeners },
      ...(panel.isMap ? [bar] : []),
      number,
      label,
      ...(panel.isMap ? [share] : []),
    );
    return { node, bar, share, number };
  }

  listeners(name) {
    const { viewer } = this;
    let pressed = false; // long enough to be one more pin: the click that follows is none
    return {
      onpointerenter: () => this.enter(name, true),
      onpointerleave: () => {
        clearTimeout(viewer.pointer.pressing);
        this.leave();
      },
      onmousedown: (event) => event.preventDefault(), // the maps keep the focus
      onpointerdown: (event) => {
        pressed = false;
        viewer.stagesNode.classList.add("by-pointer");
        viewer.stagesNode.focus({ preventScroll: true });
        if (event.pointerType !== "touch") return;
        viewer.pointer.pressing = setTimeout(() => {
          pressed = true;
          viewer.selection.place({ points: [], token: name }, { add: true });
        }, LONG_PRESS_MS);
      },
      onpointercancel: () => clearTimeout(viewer.pointer.pressing),
      onclick: (event) => {
        clearTimeout(viewer.pointer.pressing);
        if (!pressed) viewer.selection.pinAt({ points: [], token: name }, { add: event.shiftKey });
      },
    };
  }

  // -------------------------------------------------------------- pointing

  /** The pointer is on a chip: it is the query, or, where one is pinned, what the readout is about. */
  enter(name, asked) {
    const { viewer } = this;
    const { selection } = viewer;
    selection.onToken = name;
    if (asked && !selection.queries.length) {
      selection.live = { points: [], token: name, frame: viewer.frame };
      viewer.refresh();
      return;
    }
    viewer.stages.drawMarks();
    viewer.readout.read();
  }

  leave() {
    const { viewer } = this;
    if (!viewer.selection.queries.length) return; // the query stays, as a pixel's does
    viewer.selection.onToken = null;
    viewer.stages.drawMarks();
    viewer.readout.read();
  }

  /** Return the token that a step of the keyboard leads to; null where it stays on, or goes back to, the picture. */
  next({ points, token }, [down, right], times) {
    const { names } = this;
    const grid = this.viewer.queryGrid;
    if (!names.length) return null;
    const named = (index) => ({ points: [], token: names[Math.min(Math.max(index, 0), names.length - 1)] });
    if (token === undefined) {
      const row = grid && Math.floor(this.viewer.selection.positionOf({ points }) / grid.width);
      return !grid || (down === 1 && row === grid.height - 1) ? named(0) : null;
    }
    const at = names.indexOf(token);
    const lines = this.lines();
    const line = lines.findIndex((indices) => indices.includes(at));
    if (Math.abs(down) === 1 && line >= 0) {
      const to = lines[line + down * times] ?? (down > 0 ? lines.at(-1) : grid ? null : lines[0]);
      return to && named(to[Math.min(lines[line].indexOf(at), to.length - 1)]);
    }
    return named(at + (down || right) * (down ? 1 : times));
  }

  /** Return the indices of the chips below the photo line by line, as they stand there. */
  lines() {
    const panel = this.viewer.panels.find(({ isMap, strip }) => !isMap && strip);
    const lines = [];
    let top = null;
    for (const [index, name] of this.names.entries()) {
      const at = panel?.chips.get(name)?.node.offsetTop;
      if (at !== top || !lines.length) lines.push([]);
      top = at;
      lines.at(-1).push(index);
    }
    return lines;
  }

  /** Enter the tokens from the picture, or leave them for it. */
  toggle() {
    const { selection, queryGrid } = this.viewer;
    const on = selection.queries.length && !selection.moving ? selection.onToken !== null : selection.current.token !== undefined;
    if (!on && this.names.length) selection.moveTo({ points: [], token: this.names[0] });
    else if (on && queryGrid) selection.moveTo({ points: [selection.cursor] });
  }

  /** Scroll lists, not the page, to a token. */
  bringIntoView(token) {
    for (const { list, chips } of this.viewer.panels) {
      const node = token !== undefined && chips?.get(token)?.node;
      if (!node) continue;
      const top = node.offsetTop - list.offsetTop;
      const low = top + node.offsetHeight - list.clientHeight;
      list.scrollTop = Math.min(Math.max(list.scrollTop, low), top);
    }
  }

  // -------------------------------------------------------------- painting

  /** Write what each token has of a map, or of the difference of two. */
  paint(panel) {
    if (!panel.isMap || !panel.chips) return;
    const { viewer } = this;
    if (panel.name === "dependence") {
      this.write(panel, this.bitsOf(panel));
      return;
    }
    const of = (record) => this.partsOf(viewer.rowsOf(viewer.rows[panel.row], record), panel);
    if (!panel.difference) {
      const { column, parts, off } = of(panel.record);
      this.write(panel, parts);
      const { onPicture } = viewer.settings;
      setText(panel.off, offInWords(off, panel.names.map((name) => parts.get(name)?.share ?? 0), panel.names, { column, onPicture }));
      return;
    }
    const [one, other] = viewer.difference.map(of);
    const differ = (name) => {
      const [a, b] = [one.parts.get(name), other.parts.get(name)];
      if (!a || !b) return null;
      const share = a.share - b.share;
      const points = percent(share).replace(" %", " points");
      return { value: a.value - b.value, share, words: Number.isFinite(share) ? (share > 0 ? `+${points}` : points) : formatValue(a.value - b.value) };
    };
    this.write(panel, new Map(panel.names.map((name) => [name, differ(name)])));
  }

  write(panel, parts) {
    panel.parts = parts;
    for (const [name, { bar, share }] of panel.chips) {
      const part = parts.get(name);
      const size = Math.min(Math.abs(part?.share || 0), 1);
      const scale = `scaleX(${size.toFixed(4)})`;
      if (bar.style.transform !== scale) bar.style.transform = scale;
      setText(share, part?.words ?? "–");
    }
  }

  /** Return, for the tokens of a row, weight and share of a panel's term, and its share off the picture. */
  partsOf(rows, { term }) {
    const row = rows.row(this.viewer.frame);
    const parts = new Map();
    const column = rows.column;
    if (!row) return { column, parts, off: NaN };
    const { spec } = rows.record;
    const values = row[term];
    const { names, placed } = row.axis;
    const sum = (term === "whole" ? spec.row_sum : 1) * values.length;
    for (const [at, name] of names.entries()) {
      const value = values[placed + at];
      const share = spec.signed || column ? NaN : value / sum;
      parts.set(name, { value, share, words: Number.isFinite(share) ? percent(share) : formatValue(value) + (spec.signed ? "" : "×") });
    }
    return { column, parts, off: placed ? row.off[term] : NaN };
  }

  bitsOf(panel) {
    const { named } = this.viewer.dependence.at(this.viewer.records[panel.record], this.viewer.frame);
    const words = (bits) => (Number.isFinite(bits) ? `${formatValue(bits)} bits` : "–");
    return new Map(panel.names.map((name, at) => [name, { value: named?.[at], share: NaN, words: named ? words(named[at]) : "…" }]));
  }

  /** Mark the chips that are pinned, asked, or pointed at. */
  mark() {
    const { viewer } = this;
    const { selection, panels, rows, keys } = viewer;
    const { queries, onToken } = selection;
    const lit = keys.lit?.token;
    const state = JSON.stringify([rows.map(({ query }) => query.token ?? ""), queries.map(({ token }) => token ?? ""), onToken, lit ?? ""]);
    const many = queries.length > 1;
    for (const panel of panels) {
      if (!panel.chips || panel.marked === state) continue;
      panel.marked = state;
      const { query } = rows[panel.row];
      for (const [name, { node, number }] of panel.chips) {
        const pin = queries.findIndex(({ token }) => token === name);
        const own = query.token === name;
        node.classList.toggle("query", own);
        node.classList.toggle("pinned", pin >= 0 && (own || !panel.isMap));
        node.classList.toggle("cursor", onToken === name && !own);
        node.classList.toggle("lit", lit === name);
        node.setAttribute("aria-pressed", String(pin >= 0));
        node.style.setProperty("--pin", pin < 0 ? "#fff" : pinColor(pin));
        number.hidden = !(many && pin >= 0 && (own || !panel.isMap));
        if (!number.hidden) setText(number, String(pin + 1));
      }
    }
  }
}

