/** What goes from module to module, for `tsc --checkJs` and for readers; nothing of it runs. */

/** A point of the image, in its pixels. */
interface Point {
  x: number;
  y: number;
}

/** Where cells lie, as analysis.grid.Grid; `offset` is down and across. */
interface Grid {
  height: number;
  width: number;
  cell_height: number;
  cell_width: number;
  image_hw?: [number, number];
  frames?: number;
  offset?: [number, number];
}

/**
 * A query: one point, two corners of a rectangle, or a lasso, in a clip in a frame; or a token that lies nowhere.
 * With a category, all places of a predicted class, of which the point is one.
 */
interface Query {
  points: Point[];
  token?: string;
  category?: string;
  name?: string;
  frame?: number;
}

/** The part of the picture that is in view: shares of its width and height. */
interface PictureView {
  zoom: number;
  left: number;
  top: number;
}

/** The maps of a query, or the part of them that lies in one frame. */
interface RowMaps {
  direction: string;
  whole: Float32Array;
  pairwise: Float32Array;
  unary: Float32Array;
  squares?: number;
  unarySquares?: number;
  cells: number;
  of: number;
  from?: number;
  absent?: Uint8Array | null;
}

/** What the two ends of a color bar stand for. */
interface ColorRange {
  low: number;
  high: number;
  log: boolean;
}

/** What a shape drawn over a map is: a path or a word. */
interface Shape {
  d?: string;
  text?: string;
  x?: number;
  y?: number;
  stroke?: string;
  width?: number;
  fill?: string;
  dash?: string;
  size?: number;
}

/** How the numbers of a map are written. */
interface Unit {
  name: string;
  suffix: string;
  spoken: string;
}

/** An entry of settings.json. */
interface Setting {
  name: string;
  type: "flag" | "choice" | "number" | "count";
  default: any;
  choices?: string | Record<string, string>;
  low?: number;
  high?: number;
  step?: number;
  menu?: string;
  label?: string;
  spoken?: string;
  title?: string;
  icon?: string;
  of?: string;
  count?: string;
  link?: string;
  said?: string | Record<string, string>;
}

/** What bundle.py and the notebook put before the modules. */
declare const STANDALONE_PAGE: string;
declare const STYLE: string;

/** Where a viewer is mounted. */
interface Element {
  nonlocalLens?: any;
}
