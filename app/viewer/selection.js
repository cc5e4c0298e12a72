/**
 * Pinned queries: choosing, naming, ordering, moving them; and the live one under the pointer.
 *
 * A query is a place, { points }; all places of a predicted class, { points, category }, where the
 * point is one of them; or a token that lies nowhere: { points: [], token }.
 */

import { setText } from "./elements.js";
import { cellOf, centerOf, cornersOf, middleOf, positionAt, positionsWhere, viewShowing } from "./geometry.js";
import { RING } from "./marks.js";

export const MOST_QUERIES = 16;
const MOST_UNDONE = 50;
const GRID_OF_QUERIES = [2, 3]; // rows, columns

export class Selection {
  constructor(viewer) {
    this.viewer = viewer;
    this.queries = []; // pinned: { points, token, name, frame }
    this.active = 0;
    this.moving = false; // whether arrow keys move the pin that they made, or a free cursor
    this.before = []; // what was pinned before each change, the latest last
    this.cursor = null; // the point under the pointer, or that the keyboard is at
    this.onToken = null; // the token there, where that is no point
  }

  get current() {
    return this.queries[this.active] ?? this.live;
  }

  /** The chosen pinned query's index among the leading record's queries; null where none is pinned. */
  get pinned() {
    const query = this.queries[this.active];
    return query ? this.indexOf(query) : null;
  }

  /** Return the index of a query, of a region its middle's, among the leading record's; or null. */
  indexOf({ points, token }) {
    const axis = this.viewer.leading.attention.queryAxis;
    if (token !== undefined) return axis.index(token);
    const position = positionAt(middleOf(points), axis.grid);
    return position === null ? null : axis.at(position);
  }

  positionOf(query) {
    return positionAt(middleOf(query.points), this.viewer.queryGrid);
  }

  /** Let go of tokens that no record shown has, when others come. */
  keepKnown() {
    const known = ({ token }) => token === undefined || this.viewer.tokens.knows(token);
    this.queries = this.queries.filter(known);
    this.active = Math.max(0, Math.min(this.active, this.queries.length - 1));
    if (this.onToken !== null && !this.viewer.tokens.knows(this.onToken)) this.onToken = null;
    if (!this.live || !known(this.live)) this.live = this.viewer.first;
    const { width, height } = this.viewer.config.image;
    this.cursor ??= this.live.points[0] ?? { x: width / 2, y: height / 2 };
  }

  /** Take another query under the pointer where the chosen record has none such: it is only a key, or of another. */
  keepAskable() {
    const { viewer } = this;
    const { token } = this.live;
    if (token === undefined ? !viewer.queryGrid : !viewer.tokens.names.includes(token)) this.live = viewer.first;
  }

  /** Put the cursor on a query: on the middle of its place, or on its token. */
  goTo({ points, token }) {
    this.onToken = token ?? null;
    if (token === undefined) this.cursor = middleOf(points);
  }

  /** What the cursor is on, as a query. */
  get under() {
    return this.onToken === null ? { points: [this.cursor] } : { points: [], token: this.onToken };
  }

  /** Change the pinned queries, show them and tell the host. */
  change(queries, active, delay = 0) {
    this.moving = false;
    this.before.push({ queries: this.queries, active: this.active });
    if (this.before.length > MOST_UNDONE) this.before.shift();
    this.show(queries, active, delay);
  }

  /** Go back to what was pinned before the last change. */
  undo() {
    const before = this.before.pop();
    if (!before) {
      setText(this.viewer.readout.status, "Nothing to undo.");
      return;
    }
    this.moving = false;
    this.show(before.queries, before.active);
  }

  show(queries, active, delay = 0) {
    this.queries = queries.slice(0, MOST_QUERIES);
    this.active = Math.max(0, Math.min(active, this.queries.length - 1));
    this.viewer.layOut();
    this.viewer.tell(delay);
  }

  /**
   * Pin a place or a token in place of the chosen query, or beside all others.
   *
   * @param {Query} spot
   * @param {{ add?: boolean, delay?: number }} [how]
   */
  place({ points, token, category }, { add = false, delay = 0 } = {}) {
    if (points.length === 1) {
      // the middle of its cell, so that no rounding on the way to a host and back moves it to another
      const position = positionAt(points[0], this.viewer.queryGrid);
      if (position === null) return;
      points = [centerOf(position, this.viewer.queryGrid)];
    }
    const query = { points, token, category, name: "", frame: this.viewer.frame };
    const twin = points.length < 2 && add ? this.queryAt(query) : null;
    if (twin !== null) {
      this.activate(twin); // it is pinned: twice would be no more
      return;
    }
    if (add || !this.queries.length) {
      if (this.queries.length >= MOST_QUERIES) {
        setText(this.viewer.readout.status, `At most ${MOST_QUERIES} queries can be pinned.`);
        return;
      }
      this.change([...this.queries, query], this.queries.length, delay);
      return;
    }
    query.name = this.queries[this.active].name;
    const queries = this.queries.with?.(this.active, query) ?? this.queries.map((other, at) => (at === this.active ? query : other));
    this.change(queries, this.active, delay);
  }

  /** Pin a flat position of the leading record alone; null lets everything go. */
  pin(position, delay = 0) {
    if (position === null) this.change([], 0, delay);
    else this.change([{ points: [centerOf(position, this.viewer.queryGrid)], name: "", frame: this.viewer.frame }], 0, delay);
  }

  /** Do what a click on a point or a token stands for: pin it, choose the pin there, or let that go. */
  pinAt(spot, { add = false } = {}) {
    this.goTo(spot);
    const { token } = spot;
    if (token === undefined && positionAt(this.cursor, this.viewer.queryGrid) === null) return;
    const hit = this.queryAt(spot);
    if (hit === this.active && this.queries.length && !add) this.remove(hit);
    else if (hit !== null) this.activate(hit);
    else this.place(spot, { add });
  }

  clear() {
    this.corner = null;
    const query = this.queries[this.active];
    if (query) this.live = { ...liveOf(query), frame: query.frame };
    this.change([], 0);
  }

  remove(index) {
    if (this.queries.length === 1) {
      this.clear();
      return;
    }
    this.change(this.queries.filter((_, at) => at !== index), index < this.active ? this.active - 1 : this.active);
    this.goTo(this.queries[this.active]);
  }

  move(index, step) {
    const to = index + step;
    if (to < 0 || to >= this.queries.length) return;
    const queries = [...this.queries];
    [queries[index], queries[to]] = [queries[to], queries[index]];
    this.change(queries, to);
  }

  rename(query, name) {
    const index = this.queries.indexOf(query);
    if (index < 0) return;
    query.name = name.trim().slice(0, 40);
    this.change(this.queries, this.active);
  }

  activate(index) {
    if (index >= this.queries.length) return;
    this.active = index;
    this.goTo(this.queries[index]);
    if (this.viewer.leading.spacetime) this.viewer.frame = this.queries[index].frame ?? 0;
    this.viewer.layOut();
    this.viewer.tell(300);
  }

  /** Return the index of the pinned query that is a token, or under a point of the frame shown: in its cell, or its ring. */
  queryAt({ points, token, category }) {
    const { viewer } = this;
    const [point] = points;
    if (token !== undefined || category) {
      const index = this.queries.findIndex((query) => query.token === token && query.category === category);
      return index < 0 ? null : index;
    }
    const project = viewer.camera.projection();
    const here = project(point);
    const grid = viewer.queryGrid;
    const places = this.queries.map((query, index) => (query.category ? null : viewer.stages.pointsOf(index, viewer.shown[0])));
    for (const [index, at] of places.entries()) {
      if (at?.length === 1 && positionAt(at[0], grid) === positionAt(point, grid)) return index;
    }
    if (this.queries.length < 2) return null;
    const distances = places.map((found) => {
      const at = found?.length === 1 && project(found[0]);
      return at ? Math.hypot(at.x - here.x, at.y - here.y) : Infinity;
    });
    const nearest = distances.indexOf(Math.min(...distances));
    return distances[nearest] <= RING ? nearest : null;
  }

  /** Move the query by some cells or tokens and pin it; where something else was pinned, move the cursor. */
  step(direction, times) {
    const free = this.queries.length && !this.moving;
    const { viewer } = this;
    const spot = viewer.tokens.next(free ? this.under : this.current, direction, times) ?? this.stepped(direction, times, free);
    if (spot) this.moveTo(spot);
  }

  /** Return the cell that a step leads to. */
  stepped([down, right], times, free) {
    const grid = this.viewer.queryGrid;
    if (!grid) return null;
    const { height, width } = grid;
    const from = free || this.onToken !== null ? positionAt(this.cursor, grid) : this.positionOf(this.current);
    const { row, col } = cellOf(from ?? 0, grid);
    const clamp = (value, limit) => Math.min(Math.max(value, 0), limit - 1);
    const back = this.onToken === null ? row + down * times : height - 1; // from the tokens to the last row
    const position = clamp(back, height) * width + clamp(col + right * times, width);
    return { points: [centerOf(position, grid)] };
  }

  /** Take the query, or the cursor where something else was pinned, to a place or a token. */
  moveTo(spot) {
    const { viewer } = this;
    const free = this.queries.length && !this.moving;
    this.goTo(spot);
    const { image } = viewer.config;
    if (viewer.camera.view.zoom > 1) {
      viewer.camera.view = viewShowing(viewer.camera.view, this.cursor.x / image.width, this.cursor.y / image.height);
    }
    viewer.tokens.bringIntoView(spot.token);
    if (free) {
      viewer.camera.placeView();
      viewer.stages.drawMarks();
      viewer.readout.read();
      return;
    }
    this.live = { ...spot, frame: this.current.frame };
    if (this.queries.length) {
      // painted without a new layout: keys repeat quickly
      const { name, frame } = this.queries[this.active];
      this.queries[this.active] = { ...spot, name, frame };
      viewer.camera.placeView();
      viewer.refresh();
      viewer.listQueries();
      viewer.tell(300);
    } else {
      this.place(spot, { delay: 300 });
      this.moving = true;
    }
  }

  /** Do what Enter stands for: keep the pin that arrow keys moved, else do as a click at the cursor. */
  enter(add) {
    if (this.moving) {
      this.moving = false;
      setText(this.viewer.readout.status, "Pinned. The arrow keys now move a free cursor; Enter pins there, Shift and Enter pins one more.");
      return;
    }
    this.pinAt(this.queries.length ? this.under : liveOf(this.live), { add });
  }

  /** Take the cursor's cell as the corner of a region; the next time, pin all cells from there to here. */
  markCorner() {
    if (this.onToken !== null || !this.viewer.queryGrid) return; // tokens have no corners
    const points = this.corner && cornersOf([this.corner, this.cursor], this.viewer.queryGrid);
    this.corner = points ? null : this.cursor;
    if (points) this.place({ points });
    else {
      this.viewer.stages.drawMarks();
      setText(this.viewer.readout.status, this.cornerInWords());
    }
  }

  /** Ask for all places of a class that is predicted in the frame shown; if that is chosen, for its one point again. */
  pinClass(category, { add = false } = {}) {
    const { queryGrid, readout, frame } = this.viewer;
    const chosen = this.queries[this.active];
    if (chosen?.category === category) {
      this.place({ points: chosen.points }, { add });
      return;
    }
    const here = this.onToken === null && readout.classAt(this.cursor) === category;
    const found = here ? [] : positionsWhere((middle) => readout.classAt(middle, frame) === category, queryGrid);
    if (here || found.length) this.place({ points: [here ? this.cursor : centerOf(found[Math.floor(found.length / 2)], queryGrid)], category }, { add });
    else setText(readout.status, `Nothing is predicted ${category} here.`);
  }

  /** Ask for all of the class under the cursor, as it is predicted. */
  pinClassUnder({ add = false } = {}) {
    const category = this.onToken === null ? this.viewer.readout.classAt(this.cursor) : null;
    if (category) this.pinClass(category, { add });
    else setText(this.viewer.readout.status, "No class is predicted here.");
  }

  cornerInWords() {
    if (!this.corner) return "";
    const [x, y] = [this.corner.x, this.corner.y].map(Math.floor);
    return `A region begins at x ${x}, y ${y}: move, and R takes all from there to here.`;
  }

  pinMostDifferent() {
    const { leading, frames, readout } = this.viewer;
    const pair = leading.spec.most_different; // found where it was packed: one pair everywhere
    if (!pair?.length) {
      setText(readout.status, "There are not two queries that attend to anything.");
      return;
    }
    const part = Math.floor(leading.parts.length / 2); // that it was found in
    const { queryAxis } = leading.attentions[part];
    const queries = pair.map((index) => {
      const cell = queryAxis.cell(index);
      const frame = leading.spacetime && cell !== null ? leading.clipFrame(part, Math.floor(cell / queryAxis.size)) : Math.min(part, frames - 1);
      const spot = cell === null ? { points: [], token: queryAxis.name(index) } : { points: [centerOf(cell % queryAxis.size, queryAxis.grid)] };
      return { ...spot, name: "", frame };
    });
    this.viewer.frame = queries[0].frame;
    this.change(queries, 0);
  }

  pinGrid([rows, columns] = GRID_OF_QUERIES) {
    const { width, height } = this.viewer.config.image;
    const grid = this.viewer.queryGrid;
    if (!grid) {
      setText(this.viewer.readout.status, "The queries of this block are no places: choose one of the tokens.");
      return;
    }
    const queries = Array.from({ length: rows * columns }, (_, index) => {
      const point = { x: ((index % columns) + 0.5) * (width / columns), y: (Math.floor(index / columns) + 0.5) * (height / rows) };
      return { points: [centerOf(positionAt(point, grid), grid)], name: "", frame: this.viewer.frame };
    });
    this.change(queries, 0);
  }
}

/** Return a query as the pointer would be on it: a region's middle, or a token. */
const liveOf = ({ points, token }) => (token === undefined ? { points: [middleOf(points)] } : { points: [], token });
