/** Image points, cells and flat positions; regions; and the part of the picture that is in view. */

/** Return the image point of a corner of a grid's cells; rows and columns may have fractions. */
export function cornerOf(row, col, { cell_width: width, cell_height: height, offset: [down, across] = [0, 0] }) {
  return { x: col * width + across, y: row * height + down };
}

/** Return where all cells of a grid lie together, which is beside the image's edge if they are offset. */
export function boundsOf(grid) {
  const { x: left, y: top } = cornerOf(0, 0, grid);
  return { left, top, width: grid.width * grid.cell_width, height: grid.height * grid.cell_height };
}

/**
 * Return the flat position of the cell under an image point, or null beyond the last whole cell and
 * where there is no grid.
 *
 * As Grid.cell_at: pixels that no moved cell covers belong to the nearest, but to none where the
 * cells lie on a part of the image.
 */
export function positionAt({ x, y }, grid) {
  if (!grid) return null;
  const { left, top } = boundsOf(grid);
  const row = indexAt(y, top, grid.cell_height, grid.height);
  const col = indexAt(x, left, grid.cell_width, grid.width);
  return row === null || col === null ? null : row * grid.width + col;
}

function indexAt(at, offset, size, count) {
  const cell = Math.floor((at - offset) / size);
  if (Math.abs(offset) >= size) return cell >= 0 && cell < count ? cell : null;
  return at >= 0 && at < size * count ? Math.min(Math.max(cell, 0), count - 1) : null;
}

/**
 * Return the row and column of a flat position.
 *
 * @param {number} position
 * @param {Grid} grid
 */
export function cellOf(position, grid) {
  return { row: Math.floor(position / grid.width), col: position % grid.width };
}

/**
 * Return the middle of a cell.
 *
 * @param {number} position
 * @param {Grid} grid
 * @returns {Point}
 */
export function centerOf(position, grid) {
  const { row, col } = cellOf(position, grid);
  return cornerOf(row + 0.5, col + 0.5, grid);
}

export function sameGrid(one, other) {
  if (!one || !other) return one === other;
  const same = (name) => String(one[name]) === String(other[name]);
  return ["height", "width", "cell_height", "cell_width", "offset"].every(same);
}

/** Return the outline of a query: one point is a pixel, two are corners of a rectangle, more a lasso. */
export function outlineOf(points) {
  if (points.length !== 2) return points;
  const [a, b] = points;
  return [a, { x: b.x, y: a.y }, b, { x: a.x, y: b.y }];
}

/** Return the middle of a query's bounding box. */
export function middleOf(points) {
  const xs = points.map(({ x }) => x);
  const ys = points.map(({ y }) => y);
  return { x: (Math.min(...xs) + Math.max(...xs)) / 2, y: (Math.min(...ys) + Math.max(...ys)) / 2 };
}

/** Return the corners of the rectangle that just holds the cells of two points of a grid. */
export function cornersOf(points, grid) {
  const cells = points.map((point) => cellOf(positionAt(point, grid), grid));
  const rows = cells.map(({ row }) => row);
  const cols = cells.map(({ col }) => col);
  return [
    cornerOf(Math.min(...rows), Math.min(...cols), grid),
    cornerOf(Math.max(...rows) + 1, Math.max(...cols) + 1, grid),
  ];
}

/**
 * Return the flat positions of a query: its cell, or all cells whose middles lie in its region.
 *
 * @param {Point[]} points
 * @param {Grid} grid
 * @returns {number[]}
 */
export function positionsOf(points, grid) {
  if (points.length > 1) {
    const outline = outlineOf(points);
    const inside = positionsWhere((middle) => contains(outline, middle), grid);
    if (inside.length) return inside;
  }
  const position = positionAt(points.length > 1 ? middleOf(points) : points[0], grid);
  return position === null ? [] : [position];
}

/**
 * Return the flat positions of all cells of whose middles something holds.
 *
 * @param {(middle: Point) => boolean} holds
 * @param {Grid} grid
 * @returns {number[]}
 */
export function positionsWhere(holds, grid) {
  const found = [];
  for (let position = 0; position < grid.height * grid.width; position++) {
    if (holds(centerOf(position, grid))) found.push(position);
  }
  return found;
}

/** Return whether a point lies in a polygon (even-odd rule). */
export function contains(outline, { x, y }) {
  let inside = false;
  for (let i = 0, j = outline.length - 1; i < outline.length; j = i++) {
    const a = outline[i];
    const b = outline[j];
    if (a.y > y !== b.y > y && x < ((b.x - a.x) * (y - a.y)) / (b.y - a.y) + a.x) inside = !inside;
  }
  return inside;
}

/** Return at most `count` of a path's points, evenly chosen, the first and the last among them. */
export function thinned(path, count) {
  if (path.length <= count) return path;
  return Array.from({ length: count }, (_, i) => path[Math.round((i * (path.length - 1)) / (count - 1))]);
}

/** Return the sum of the values, but for NaN, whose cells' middles lie within `radius` pixels of a point. */
export function sumWithin(values, grid, { x, y }, radius) {
  const { width, height, cell_width: cellWidth, cell_height: cellHeight } = grid;
  const { left, top } = boundsOf(grid);
  const low = (at, size) => Math.max(0, Math.ceil((at - radius) / size - 0.5));
  const high = (at, size, count) => Math.min(count - 1, Math.floor((at + radius) / size - 0.5));
  let sum = 0;
  for (let row = low(y - top, cellHeight); row <= high(y - top, cellHeight, height); row++) {
    const down = (row + 0.5) * cellHeight + top - y;
    for (let col = low(x - left, cellWidth); col <= high(x - left, cellWidth, width); col++) {
      const right = (col + 0.5) * cellWidth + left - x;
      if (down * down + right * right <= radius * radius) sum += values[row * width + col] || 0;
    }
  }
  return sum;
}

export const MOST_ZOOM = 16;

/** The whole picture in view: `left` and `top` are shares of its width and height. */
export const WHOLE_VIEW = { zoom: 1, left: 0, top: 0 };

/** Return a view moved so that it shows nothing but the picture. */
export function clampedView({ zoom, left, top }) {
  const size = Math.min(Math.max(zoom, 1), MOST_ZOOM);
  const inside = (value) => Math.min(Math.max(value, 0), 1 - 1 / size);
  return { zoom: size, left: inside(left), top: inside(top) };
}

/** Return the view zoomed by a factor while the point at (x, y), shares of the stage, stays there. */
export function zoomedView(view, factor, x, y) {
  const zoom = Math.min(Math.max(view.zoom * factor, 1), MOST_ZOOM);
  const moved = 1 / view.zoom - 1 / zoom;
  return clampedView({ zoom, left: view.left + x * moved, top: view.top + y * moved });
}

/** Return the view moved just far enough to show an image point, given in shares of the picture. */
export function viewShowing(view, x, y) {
  const size = 1 / view.zoom;
  const margin = size / 8;
  const follow = (start, at) =>
    at < start + margin ? at - margin : at > start + size - margin ? at + margin - size : start;
  return clampedView({ zoom: view.zoom, left: follow(view.left, x), top: follow(view.top, y) });
}
