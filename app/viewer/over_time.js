/** What a block did over the frames of a clip: which row belongs to a frame. A picture has one frame. */

import { Attention, TERMS } from "./attention.js";
import { tensorsOf } from "./buffer.js";
import { middleOf, positionAt, sameGrid } from "./geometry.js";

/**
 * Return where a point of a frame is in every frame, null where it is lost.
 *
 * A point moves as the middle of its cell does: `forward` and `backward` hold x and y of that, step
 * by step (analysis/tracking.py).
 */
export function follow({ x, y }, frame, frames, { forward, backward }, grid, { width, height }) {
  const path = new Array(frames).fill(null);
  path[frame] = { x, y };
  const cells = grid.width * grid.height;
  const moved = (point, flow, step) => {
    const cell = point && positionAt(point, grid);
    if (cell == null) return null;
    const at = (step * cells + cell) * 2;
    const next = { x: point.x + flow[at], y: point.y + flow[at + 1] };
    return next.x >= 0 && next.x < width && next.y >= 0 && next.y < height ? next : null;
  };
  for (let t = frame; t < frames - 1; t++) path[t + 1] = moved(path[t], forward, t);
  for (let t = frame; t > 0; t--) path[t - 1] = moved(path[t], backward, t - 1);
  return path;
}

/**
 * Return the share of a row's weight in each frame of its axis: its temporal-mass profile. It sums to
 * 1 with what lies off the picture; of what is on it alone, to 1.
 */
export function frameShares(values, axis, onPicture = false) {
  const masses = new Float64Array(axis.grid.frames ?? 1);
  let total = 0;
  for (let j = 0; j < (onPicture ? axis.placed : values.length); j++) {
    total += values[j];
    if (j < axis.placed) masses[Math.floor(axis.cell(j) / axis.size)] += values[j];
  }
  return masses.map((mass) => mass / total);
}

/**
 * What one block, or head, did: one record of a picture; of a clip one of every frame, each with its
 * own rows; or, `spacetime`, one of all frames or of each group of them, whose rows spread over time.
 *
 * `query_frames` and `key_frames` of the spec name, for every record and every frame of the clip,
 * the frame of its grid, or null; a block that pools over time has fewer.
 */
export class FrameRecords {
  constructor(spec, tensors, index, frames) {
    this.spec = spec;
    this.title = spec.title;
    this.subtitles = {};
    this.frames = frames;
    this.sameGrid = sameGrid(spec.query_grid, spec.key_grid);
    this.spacetime = Boolean(spec.spacetime);
    const count = spec.parts ?? 1;
    const names = Array.from({ length: count }, (_, part) => (count > 1 ? `${index}.${part}` : index));
    this.parts = names.map((name) => tensorsOf(tensors, name));
    this.attentions = this.parts.map((arrays) => new Attention(spec, arrays));
    const [forward, backward] = ["forward", "backward"].map((way) => tensors[`${index}.flow.${way}`]);
    this.flow = forward && { forward, backward };
  }

  get attention() {
    return this.attentions[0];
  }

  get arrays() {
    return this.parts[0];
  }

  /** Return the part that has a frame of the clip among its queries, or its keys; -1 for none. */
  partOf(frame, ofKeys = false) {
    if (this.frames === 1) return 0;
    if (!this.spacetime) return frame;
    return this.spec[ofKeys ? "key_frames" : "query_frames"].findIndex((at) => at[frame] !== null);
  }

  /** Return the frame of a part's grid that a frame of the clip belongs to, or null. */
  gridFrame(part, frame, ofKeys = false) {
    if (!this.spacetime) return this.frames === 1 || part === frame ? 0 : null;
    return this.spec[ofKeys ? "key_frames" : "query_frames"][part]?.[frame] ?? null;
  }

  /** Return the frame of the clip in the middle of those that a frame of a part's grid stands for. */
  clipFrame(part, gridFrame, ofKeys = false) {
    const every = Array.from({ length: this.frames }, (_, frame) => frame);
    const same = every.filter((frame) => this.gridFrame(part, frame, ofKeys) === gridFrame);
    return same[Math.floor(same.length / 2)];
  }

  /** Return the tensors of the part that a frame belongs to. */
  arraysAt(frame) {
    return this.parts[Math.max(0, this.partOf(frame))];
  }

  /**
   * Return the points of a query in every frame, null where it is not.
   *
   * @param {Query} query
   * @param {boolean} [following]
   * @returns {(Point[] | null)[]}
   */
  placesOf({ points, token, category, frame = 0 }, following) {
    if (this.frames === 1) return [points];
    const every = Array.from({ length: this.frames }, (_, t) => t);
    if (token !== undefined) return every.map(() => points); // a token is in no frame, and in every one
    if (this.spacetime) return every.map((t) => (t === frame ? points : null));
    if (!following || !this.flow || category) return every.map(() => points); // a class is where each frame has it
    const middle = middleOf(points);
    const grid = this.spec.query_grid;
    const [height, width] = grid.image_hw;
    const path = follow(middle, frame, this.frames, this.flow, grid, { width, height });
    return path.map((at) => at && points.map(({ x, y }) => ({ x: x + at.x - middle.x, y: y + at.y - middle.y })));
  }
}

/**
 * The rows of one query in every frame, in one direction: what has not changed is computed once, so
 * that playing only paints.
 */
export class Rows {
  constructor(record, direction) {
    this.record = record;
    this.column = direction === "column";
    this.direction = direction;
    this.made = record.attentions.map(() => null);
    this.fresh = record.attentions.map(() => null); // whether there is a row, once that is known
    this.slices = record.attentions.map(() => []);
    this.version = record.attentions.map(() => 0); // of the rows, which slices are laid out of
  }

  /**
   * Take another query: nothing is computed before it is asked for.
   *
   * @param {Query} query
   * @param {{ follow?: boolean, onPicture?: boolean }} [how]
   * @param {((point: Point, frame: number) => boolean) | null} [holds] of the places of a class
   */
  look(query, { follow = false, onPicture = false } = {}, holds = null) {
    this.query = query;
    this.holds = holds;
    this.onPicture = onPicture;
    this.places = this.record.placesOf(query, follow);
    this.fresh.fill(null);
  }

  /** The tokens of the query: in a column, those of the keys. */
  axisAt(frame) {
    const { keyAxis, queryAxis } = this.record.attentions[Math.max(0, this.partAt(frame))];
    return this.column ? keyAxis : queryAxis;
  }

  /** The grid of the query: in a column, that of the keys. */
  get grid() {
    const { spec } = this.record;
    return this.column ? spec.key_grid : spec.query_grid;
  }

  /** The grid of the map. */
  get onto() {
    const { spec } = this.record;
    return this.column ? spec.query_grid : spec.key_grid;
  }

  /** Return which part has the row that a frame shows. */
  partAt(frame) {
    return this.record.spacetime ? this.record.partOf(this.query.frame ?? 0, this.column) : this.record.partOf(frame);
  }

  /** Return the whole row that a frame belongs to, over all frames that it spreads over; or null. */
  row(frame) {
    const { record, query } = this;
    const part = this.partAt(frame);
    if (part < 0) return null;
    const maps = (this.made[part] ??= record.attentions[part].emptyMaps(this.direction));
    if (this.fresh[part] !== null) return this.fresh[part] ? maps : null;
    const points = record.spacetime ? query.points : this.places[frame];
    const first = record.spacetime ? (record.gridFrame(part, query.frame ?? 0, this.column) ?? 0) : 0;
    const holds = this.holds && ((point) => this.holds(point, record.spacetime ? (query.frame ?? 0) : frame));
    const indices = points ? this.axisAt(frame).indicesOf({ points, token: query.token }, first, holds) : [];
    this.fresh[part] = indices.length > 0;
    if (!indices.length) return null;
    maps.onPicture = this.onPicture;
    this.version[part]++;
    record.attentions[part].fill(maps, indices);
    return maps;
  }

  /**
   * Return the part of the row that lies on the picture in one frame; null where there is none.
   *
   * @param {number} frame
   * @returns {RowMaps | null}
   */
  at(frame) {
    const row = this.row(frame);
    const { record } = this;
    if (!row || !row.axis.placed) return null;
    const part = this.partAt(frame);
    const gridFrame = record.gridFrame(part, frame, !this.column);
    if (gridFrame === null) return null;
    const slice = (this.slices[part][gridFrame] ??= {
      direction: this.direction,
      from: gridFrame * row.axis.size,
      absent: row.axis.absent(gridFrame),
      version: -1,
    });
    slice.cells = row.cells;
    slice.of = row.of;
    if (slice.version === this.version[part]) return slice;
    slice.version = this.version[part];
    for (const term of TERMS) slice[term] = row.axis.laid(row[term], gridFrame, slice[term] ?? new Float32Array(row.axis.size));
    return slice;
  }

  /**
   * Return the share of a term's row in each frame of the clip, NaN where it has none: of a frame of
   * the grid that stands for several of the clip an even share each, so that all sum to 1.
   */
  shares(term) {
    const part = this.partAt(0);
    const row = this.row(0);
    const shares = row?.axis.placed ? frameShares(row[term], row.axis, row.onPicture) : null;
    const frames = Array.from({ length: this.record.frames }, (_, frame) => this.record.gridFrame(part, frame, !this.column));
    return frames.map((at) => (shares && at !== null ? shares[at] / frames.filter((other) => other === at).length : NaN));
  }
}
