/**
 * What is drawn over a map, as shapes: { d | text, ... } in the pixels of a stage.
 *
 * The same shapes go into the page, a PNG and an SVG. None covers the query's own cell.
 */

import { cellOf, centerOf, cornerOf, outlineOf } from "./geometry.js";

/**
 * Values that differ by less, relative to them, are equal but for rounding; signed ones, which are
 * differences, relative to the greatest magnitude.
 */
const TIE = 1e-6;

/**
 * Return the indices of the greatest values in descending order, `skip(index)` left out.
 *
 * Where the last of them ties with one that is left out, nothing tells which of the two belongs to
 * the strongest: all that tie there are left out. As analysis/strongest.py.
 *
 * @param {ArrayLike<number>} values
 * @param {number} count
 * @param {(index: number) => boolean} [skip]
 * @returns {number[]}
 */
export function strongest(values, count, skip = () => false) {
  const best = []; // one more than asked for: it tells where the rest begins
  let least = Infinity;
  let magnitude = 0;
  for (let j = 0; j < values.length; j++) {
    const value = values[j];
    if (value !== value || skip(j)) continue;
    least = Math.min(least, value);
    magnitude = Math.max(magnitude, Math.abs(value));
    if (best.length > count && value <= values[best[count]]) continue;
    let at = best.length;
    while (at > 0 && values[best[at - 1]] < value) at--;
    best.splice(at, 0, j);
    if (best.length > count + 1) best.pop();
  }
  const apart = (index, rest) => values[index] - rest > TIE * (least < 0 ? magnitude : values[index]);
  if (best.length > count) return best.slice(0, count).filter((j) => apart(j, values[best[count]]));
  return best.length > 1 && !apart(best[0], least) ? [] : best;
}

/**
 * Return, for each share, the least value among the fewest cells that hold this share of the mass.
 *
 * Infinity, which no cell reaches, where ties make these cells hold much more than the share.
 *
 * @param {Float32Array} values
 * @param {number[]} shares
 * @param {(index: number) => boolean} [skip]
 */
export function massLevels(values, shares, skip = () => false) {
  const kept = values.filter((value, j) => value === value && !skip(j)).sort();
  const total = kept.reduce((sum, value) => sum + value, 0);
  return shares.map((share) => {
    let sum = 0;
    for (let j = kept.length - 1; j >= 0; j--) {
      sum += kept[j];
      if (sum < share * total) continue;
      let tied = 0;
      for (let i = j - 1; i >= 0 && kept[j] - kept[i] <= TIE * kept[j]; i--) tied += kept[i];
      return tied > MOST_TIED * total ? Infinity : kept[j];
    }
    return Infinity;
  });
}

/** The most that cells which tie with the last one inside a contour may add, of the whole mass. */
const MOST_TIED = 0.05;

/** Return a test for the cells within `radius` cells (of `grid`) of some positions' middles. */
export function neighborhood(points, grid, radius) {
  if (!radius || points.length !== 1) return () => false;
  const reach = radius * Math.max(grid.cell_width, grid.cell_height);
  const [{ x, y }] = points;
  return (position) => {
    const at = centerOf(position, grid);
    return (at.x - x) ** 2 + (at.y - y) ** 2 <= reach * reach;
  };
}

const number = (value) => Math.round(value * 10) / 10;
const place = ({ x, y }) => `${number(x)} ${number(y)}`;

/** Return 1 for every cell of a set but those in islands of fewer than `least` cells, else 0. */
export function withoutIslands(holds, { height, width }, least) {
  const inside = Uint8Array.from({ length: height * width }, (_, j) => (holds(j) ? 1 : 0));
  const seen = new Uint8Array(inside.length);
  for (let start = 0; start < inside.length; start++) {
    if (!inside[start] || seen[start]) continue;
    const island = [start];
    seen[start] = 1;
    for (let at = 0; at < island.length; at++) {
      const j = island[at];
      const col = j % width;
      for (const next of [col > 0 ? j - 1 : -1, col < width - 1 ? j + 1 : -1, j - width, j + width]) {
        if (next < 0 || next >= inside.length || !inside[next] || seen[next]) continue;
        seen[next] = 1;
        island.push(next);
      }
    }
    if (island.length < least) for (const j of island) inside[j] = 0;
  }
  return inside;
}

/** Return the outline, along cell edges, of all cells for which `inside(position)` holds. */
export function cellOutline(inside, grid, project) {
  const { height, width } = grid;
  const at = (row, col) => row >= 0 && col >= 0 && row < height && col < width && inside(row * width + col);
  const parts = [];
  const edge = (x0, y0, x1, y1) => {
    const from = project(cornerOf(y0, x0, grid));
    const to = project(cornerOf(y1, x1, grid));
    parts.push(`M${place(from)}L${place(to)}`);
  };
  // runs of edges are drawn as one line: horizontal ones above each row, then vertical ones
  for (let row = 0; row <= height; row++) {
    for (let col = 0, start = null; col <= width; col++) {
      const here = col < width && at(row - 1, col) !== at(row, col);
      if (here && start === null) start = col;
      if (!here && start !== null) {
        edge(start, row, col, row);
        start = null;
      }
    }
  }
  for (let col = 0; col <= width; col++) {
    for (let row = 0, start = null; row <= height; row++) {
      const here = row < height && at(row, col - 1) !== at(row, col);
      if (here && start === null) start = row;
      if (!here && start !== null) {
        edge(col, start, col, row);
        start = null;
      }
    }
  }
  return parts.join("");
}

export function circle({ x, y }, radius) {
  const r = number(radius);
  return `M${number(x - radius)} ${number(y)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
}

function rectangle({ x, y }, to, grow = 0) {
  return (
    `M${number(x - grow)} ${number(y - grow)}H${number(to.x + grow)}V${number(to.y + grow)}` +
    `H${number(x - grow)}Z`
  );
}

export function boxOf(position, grid, project, grow = 0) {
  const { row, col } = cellOf(position, grid);
  return rectangle(project(cornerOf(row, col, grid)), project(cornerOf(row + 1, col + 1, grid)), grow);
}

/** Return a line with a head that begins and ends some pixels off its points; nothing if they touch. */
export function arrow(from, to, { gap = 0, endGap = 0, head = 5 } = {}) {
  const length = Math.hypot(to.x - from.x, to.y - from.y);
  if (length <= gap + endGap + head) return "";
  const [right, down] = [(to.x - from.x) / length, (to.y - from.y) / length];
  const start = { x: from.x + right * gap, y: from.y + down * gap };
  const end = { x: to.x - right * endGap, y: to.y - down * endGap };
  const wing = (side) => ({
    x: end.x - head * (right + side * 0.6 * down),
    y: end.y - head * (down - side * 0.6 * right),
  });
  return `M${place(start)}L${place(end)}M${place(wing(1))}L${place(end)}L${place(wing(-1))}`;
}

/** A line that is seen on any ground: dark below, light (or colored) above. */
function haloed(d, color, width, options = {}) {
  if (!d) return [];
  return [
    { d, stroke: "#000", width: width + 2, ...options },
    { d, stroke: color, width, ...options },
  ];
}

export const RING = 9; // radius, in pixels of the screen

/** Return the distance from the middle of a cell to its corners, in pixels of the screen. */
function reachOf(grid, project) {
  return (Math.hypot(grid.cell_width, grid.cell_height) / 2) * project.scale;
}

/** Return the shapes of one query: cell outline, ring and number of a pixel, or outline of a region. */
export function queryShapes(points, grid, position, project, { color = "#fff", label = "", faint = false } = {}) {
  const shapes = [];
  if (points.length > 1) {
    const corners = outlineOf(points).map(project);
    const d = `M${corners.map(place).join("L")}Z`;
    shapes.push(...haloed(d, color, faint ? 1.5 : 2, { dash: "6 4" }));
    if (label) shapes.push({ text: label, x: corners[0].x + 3, y: corners[0].y - 4, fill: color });
    return shapes;
  }
  const center = position === null ? project(points[0]) : project(centerOf(position, grid));
  // whatever is drawn lies outside of the cell, so that its own color can be seen
  if (position !== null && reachOf(grid, project) > RING - 2) {
    shapes.push(...haloed(boxOf(position, grid, project, 2), color, faint ? 1.5 : 2));
    const corner = project(cornerOf(cellOf(position, grid).row, cellOf(position, grid).col + 1, grid));
    if (label) shapes.push({ text: label, x: corner.x + 4, y: corner.y - 3, fill: color });
    return shapes;
  }
  if (position !== null && !faint) {
    shapes.push({ d: boxOf(position, grid, project, 1.5), stroke: "#000", width: 1 });
    shapes.push({ d: boxOf(position, grid, project, 0.5), stroke: "#fff", width: 1 });
  }
  shapes.push(...haloed(circle(center, faint ? RING - 3 : RING), color, faint ? 1.5 : 2));
  if (label) shapes.push({ text: label, x: center.x + RING - 1, y: center.y - RING + 1, fill: color });
  return shapes;
}

/** Return the outline of all cells of a class, labelled at one of them. */
export function classShapes(inside, point, grid, project, { color = "#fff", label = "", faint = false } = {}) {
  /** @type {Shape[]} */
  const shapes = haloed(cellOutline(inside, grid, project), color, faint ? 1 : 1.5);
  const { x, y } = project(point);
  if (label) shapes.push({ text: label, x: x + 3, y: y - 4, fill: color });
  return shapes;
}

export function cursorShapes(point, project) {
  return [{ d: circle(project(point), 3.5), stroke: "#000", width: 1.5, fill: "#fff" }];
}

/** Return words beside the cursor, on the side where there is room. */
export function wordShapes(text, point, project, width) {
  const { x, y } = project(point);
  const long = 7.2 * text.length;
  return [{ text, x: x + 12 + long > width ? Math.max(2, x - 12 - long) : x + 12, y: Math.max(14, y - 10), fill: "#fff", size: 12 }];
}

/** Return a stroke through each cell that has no key: what is seen there is the photo alone. */
export function absentShapes(absent, grid, project) {
  const strokes = [];
  for (let position = 0; position < absent.length; position++) {
    if (!absent[position]) continue;
    const { row, col } = cellOf(position, grid);
    strokes.push(`M${place(project(cornerOf(row + 0.75, col + 0.25, grid)))}L${place(project(cornerOf(row + 0.25, col + 0.75, grid)))}`);
  }
  return [{ d: strokes.join(""), stroke: "#ffffff80", width: 1 }];
}

/** Return the shapes of a cell that something beside the maps points at. */
export function litShapes(position, grid, project) {
  return haloed(boxOf(position, grid, project, 2), "#ffd166", 3);
}

/**
 * Return the shapes of the marks chosen for one map.
 *
 * `towards` tells whether the strongest cells look at the query (a column) or it at them.
 */
export function mapShapes(values, { points, grid, project, marks, towards, signed }) {
  const shapes = [];
  const skip = neighborhood(points, grid, marks.exclude);
  if (marks.contours && !signed) {
    const [half, most] = massLevels(values, [0.5, 0.9], skip);
    const outline = (level) => {
      const inside = withoutIslands((j) => values[j] >= level && !skip(j), grid, marks.islands ?? 1);
      return cellOutline((j) => inside[j] === 1, grid, project);
    };
    shapes.push(...haloed(outline(most), "#fff", 1, { dash: "3 3" }), ...haloed(outline(half), "#fff", 1.5));
  }
  if (marks.arrows && points.length === 1) {
    const from = project(points[0]);
    const clear = Math.max(RING, reachOf(grid, project)) + 1;
    const paths = strongest(values, marks.arrowCount, skip).map((j) => {
      const to = project(centerOf(j, grid));
      return towards ? arrow(to, from, { endGap: clear }) : arrow(from, to, { gap: clear });
    });
    shapes.push(...haloed(paths.join(""), "#fff", 1.25));
  }
  if (marks.boxes) shapes.push(...boxShapes(values, { points, grid, project, count: marks.boxCount, skip }));
  if (marks.exclude && points.length === 1) {
    const reach = marks.exclude * Math.max(grid.cell_width, grid.cell_height) * project.scale;
    if (reach > reachOf(grid, project)) {
      shapes.push(...haloed(circle(project(points[0]), reach), "#fff", 1, { dash: "2 4" }));
    }
  }
  return shapes;
}

const DIGIT_WIDTH = 6.5; // of bold figures, 10 pixels high

/** Return boxes around the strongest cells and then, above all boxes, their ranks beside them. */
function boxShapes(values, { points, grid, project, count, skip }) {
  const boxes = [];
  const ranks = [];
  const query = points.length === 1 ? project(points[0]) : { x: -Infinity };
  for (const [index, j] of strongest(values, count, skip).entries()) {
    boxes.push(...haloed(boxOf(j, grid, project, 1.5), "#ffd166", 1.5));
    const text = String(index + 1);
    const at = project(centerOf(j, grid));
    const away = (grid.cell_width * project.scale) / 2 + 3;
    // on the side that faces away from the query, whose cell it would cover
    const x = at.x < query.x ? at.x - away - DIGIT_WIDTH * text.length : at.x + away;
    ranks.push({ text, x, y: at.y + 4, fill: "#ffd166", size: 10 });
  }
  return [...boxes, ...ranks];
}
