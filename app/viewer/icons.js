/** Icons of the toolbar, as paths of 24 x 24 (strokes, drawn here). */

const PATHS = {
  layers: "M12 3 3 8l9 5 9-5zM3 13l9 5 9-5",
  marks: "M4 20 18 6M11 6h7v7",
  compare: "M4 5h7v14H4zM13 5h7v14h-7z",
  view: "M4 7h10M18 7h2M4 17h2M10 17h10M16 4v6M8 14v6",
  pins: "M12 21s6-6.2 6-11a6 6 0 1 0-12 0c0 4.800 6 11 6 11zM12 12a2 2 0 1 0 0-4 2 2 0 0 0 0 4",
  save: "M12 4v11M7 10l5 5 5-5M5 20h14",
  undo: "M9 7 4 12l5 5M4 12h10a6 6 0 0 1 0 12",
  full: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  help: "M9 9a3 3 0 1 1 4 3c-1 .5-1 1-1 2M12 18v.5",
  play: "M7 4v16l13-8z",
  pause: "M8 4v16M16 4v16",
  first: "M18 5 10 12l8 7M6 5v14",
  back: "M15 5 8 12l7 7",
  on: "m9 5 7 7-7 7",
  last: "m6 5 8 7-8 7M18 5v14",
};

/** Return an icon: of the size of letters, in their color, silent. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.append(path);
  return svg;
}
