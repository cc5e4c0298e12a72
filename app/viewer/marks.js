/**
 * What is drawn over a map, as shapes: { d | text, ... } in the pixels of a stage.
 *
 * The same shapes go into the page, a PNG and an SVG. None covers the query's own cell.
 */

import { cellOf, centerOf, cornerOf, outlineOf } from "./geometry.js";

/** Return the indices of the greatest values in descending order, `skip(index)` left out. */
export function strongest(values, count, skip = () => false) {
  const best = [];
  for (let j = 0; j < values.length; j++) {
    const value = values[j];
    if (!(best.length < count || value > values[best[best.length - 1]]) || value !== value || skip(j)) continue;
    let at = best.length;
    while (at > 0 && values[best[at - 1]] < value) at--;
    best.splice(at, 0, j);
    if (best.length > count) best.pop();
  }
  return best;
}

/** Return, for each share, the least value among the fewest cells that hold this share of the mass. */
export function massLevels(values, shares, skip = () => false) {
  const kept = values.filter((value, j) => value === value && !skip(j)).sort();
  const total = kept.reduce((sum, value) => sum + value, 0);
  return shares.map((share) => {
    let sum = 0;
    for (let j = kept.length - 1; j >= 0; j--) {
      sum += kept[j];
      if (sum >= share * total) return kept[j];
    }
    return Infinity;
  });
}

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

export function cursorShapes(point, project) {
  return [{ d: circle(project(point), 3.5), stroke: "#000", width: 1.5, fill: "#fff" }];
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
    const outline = (level) => cellOutline((j) => values[j] >= level && !skip(j), grid, project);
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
