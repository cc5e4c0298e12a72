/** The tokens along one side of an attention matrix, as analysis/axis.py: places first, then named ones. */

import { positionsOf, positionsWhere } from "./geometry.js";

export class Axis {
  /**
   * @param {Grid | null} grid the lattice; null where no token has a place
   * @param {string[]} [names] of the tokens without a place, in the network's order
   * @param {Int32Array | null} [cells] which cell each placed token is, rising; null for all of them
   */
  constructor(grid, names = [], cells = null) {
    this.grid = grid;
    this.names = names;
    this.cells = cells;
    this.size = grid ? grid.height * grid.width : 0; // of a frame
    const positions = this.size * (grid?.frames ?? 1);
    this.placed = cells ? cells.length : positions;
    this.length = this.placed + names.length;
    this.indices = null;
    if (cells) {
      this.indices = new Int32Array(positions).fill(-1);
      for (const [index, cell] of cells.entries()) this.indices[cell] = index;
    }
  }

  /** Return the index of the token that is a cell; null where none is. */
  at(cell) {
    const index = this.indices ? this.indices[cell] : cell;
    return index >= 0 && index < this.placed ? index : null;
  }

  /** Return the index of a named token; null where none is called that. */
  index(name) {
    const at = this.names.indexOf(name);
    return at < 0 ? null : this.placed + at;
  }

  /** Return what a token without a place is called; null for a place. */
  name(index) {
    return index < this.placed ? null : this.names[index - this.placed];
  }

  /** Return which cell of the grid a token is, as a flat position; null if it is no place. */
  cell(index) {
    if (index >= this.placed) return null;
    return this.cells ? this.cells[index] : index;
  }

  /**
   * Return the indices of the tokens that a query stands for: the one it names, or the places in it.
   *
   * @param {{ points: Point[], token?: string }} query
   * @param {number} [frame] of the grid
   * @param {((point: Point) => boolean) | null} [holds] of the middle of each place, instead of the points
   * @returns {number[]}
   */
  indicesOf({ points, token }, frame = 0, holds = null) {
    if (token !== undefined) return this.names.includes(token) ? [this.index(token)] : [];
    if (!this.grid) return [];
    const positions = holds ? positionsWhere(holds, this.grid) : positionsOf(points, this.grid);
    const found = positions.map((position) => this.at(frame * this.size + position));
    return found.filter((index) => index !== null);
  }

  /** Return the values of a frame's cells, NaN where no token is: `out`, or a view where all are there. */
  laid(values, frame, out) {
    const from = frame * this.size;
    if (!this.cells) return values.subarray(from, from + this.size);
    for (let at = 0; at < this.size; at++) {
      const index = this.indices[from + at];
      out[at] = index < 0 ? NaN : values[index];
    }
    return out;
  }

  /** Return 1 for each cell of a frame where no token is, else 0; null where all cells are there. */
  absent(frame) {
    if (!this.cells) return null;
    return Uint8Array.from({ length: this.size }, (_, at) => (this.indices[frame * this.size + at] < 0 ? 1 : 0));
  }
}
