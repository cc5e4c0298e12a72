/** The panels of a view: the photo and its maps, what their titles say, and the marks on them. */

import { TITLES } from "./controls.js";
import { formatValue, pinColor } from "./color.js";
import { button, element, setText } from "./elements.js";
import { centerOf, cornersOf, positionAt, sameGrid } from "./geometry.js";
import { absentShapes, classShapes, cursorShapes, litShapes, mapShapes, queryShapes, wordShapes } from "./marks.js";
import { Panel, UNITS } from "./panel.js";

const WHOLE_SUBTITLES = {
  coupled: "softmax(pairwise + unary)",
  pairwise: "softmax(pairwise): there is no unary term",
  unary: "softmax(unary): the same for every query",
  unnormalized: "no softmax: the logits themselves",
};

/** Return what stands under the title of each map: what it is, and what it does not depend on. */
export function subtitlesOf({ coupling, learned, row_sum: rowSum, reach }) {
  const whole = coupling === "disentangled" ? `pairwise + unary: rows sum to ${formatValue(rowSum)}` : WHOLE_SUBTITLES[coupling];
  const everyone = reach ? "all that look there" : "every query";
  return {
    whole: reach ? `${whole}, within its own ${reach}` : whole,
    pairwise: coupling === "unary" ? "none, so uniform: no query takes part" : "what depends on the query",
    unary:
      coupling === "pairwise" ? "none, so uniform: whitening takes it out"
      : learned ? `learned, the same for ${everyone}`
      : `the same for ${everyone}`,
  };
}

export class Stages {
  constructor(viewer) {
    this.viewer = viewer;
  }

  /** @param {any} options of Panel, but for what all have in common */
  addPanel(options) {
    const panel = new Panel({ photo: this.viewer.photoUrls[this.viewer.frame], alt: "", handlers: this.viewer.pointer.handlers(), ...options });
    this.viewer.panels.push(panel);
    return panel;
  }

  photoPanel(query, row) {
    const many = this.viewer.selection.queries.length > 1;
    const panel = this.addPanel({
      name: "photo",
      title: many ? this.viewer.readout.nameOf(query) : "Photo",
      subtitle: many ? this.viewer.readout.placeOf(query, { short: !query.name }) : "",
      number: many ? row + 1 : 0,
      color: pinColor(row),
      alt: this.viewer.config.image.alt,
      row,
    });
    this.viewer.tokens.addTo(panel);
    const url = this.predictionUrl();
    if (url) {
      panel.prediction = element("img", { class: "prediction", src: url, alt: "Predicted segmentation", draggable: "false" });
      panel.layers.append(panel.prediction);
    }
    return panel;
  }

  predictionUrl() {
    const { predictionUrls, shown, frame } = this.viewer;
    const urls = predictionUrls[shown[0]];
    return urls[urls.length > 1 ? frame : 0];
  }

  /** Show the current frame in every panel. */
  showFrame() {
    const { photoUrls, frame, panels } = this.viewer;
    for (const panel of panels) {
      panel.image.src = photoUrls[frame];
      if (panel.prediction) panel.prediction.src = this.predictionUrl();
    }
  }

  /** Return where a query is in the current frame, as a record sees it; null where it is not there. */
  pointsOf(row, record) {
    const rows = this.viewer.rowsOf(this.viewer.rows[row], record);
    return rows.places[this.viewer.frame];
  }

  /** Return what is drawn where a query is: around its place, or around all places of its class. */
  shapesOf(query, points, grid, project, options) {
    const holds = this.viewer.classHeld(query);
    if (!holds || !grid) return queryShapes(points, grid, positionAt(points[0], grid), project, options);
    const { frame } = this.viewer;
    return classShapes((position) => holds(centerOf(position, grid), frame), points[0], grid, project, options);
  }

  /** Return buttons that bring each map of a row into view, where they do not stand side by side. */
  buildPager(nodes) {
    const maps = nodes.filter((node) => node.dataset.panel && node.dataset.panel !== "photo" && node.dataset.row === "0");
    if (maps.length < 2) return [];
    const pages = maps.map((node) =>
      button(node.querySelector(".title").textContent, () => node.scrollIntoView({ behavior: "smooth", block: "nearest", inline: "start" })),
    );
    return [element("div", { class: "pager", role: "group", "aria-label": "Maps" }, ...pages)];
  }

  /** Return what maps are swiped in; where there is something to swipe, arrow keys do it, too. */
  buildMaps() {
    return element("div", {
      class: "maps",
      role: "group",
      "aria-label": "Maps of this photo",
      tabindex: "0", // of no effect where they stand side by side, without a box around them
      onkeydown: (event) => {
        const { target, currentTarget, key } = event;
        if (target === currentTarget && (key === "ArrowLeft" || key === "ArrowRight")) event.stopPropagation();
      },
    });
  }

  /** Return panels with the maps after each photo in one node: on narrow screens a finger swipes them. */
  withMapsTogether(nodes) {
    const together = [];
    for (const node of nodes) {
      if (node.dataset.panel === "photo") together.push(node, this.buildMaps());
      else together.at(-1).append(node);
    }
    return together;
  }

  /** Return the predicted classes, each a button that asks for all of it; none where none are predicted. */
  legendItems() {
    return (this.viewer.leading.spec.classes ?? []).map(({ name, color, share }) =>
      element(
        "li",
        {},
        element(
          "button",
          {
            type: "button",
            title: `Ask for all of it: the mean attention of all that is predicted ${name}, ${(100 * share).toFixed(1)} % of the pixels`,
            disabled: share > 0 ? null : "",
            onclick: (event) => this.viewer.selection.pinClass(name, { add: event.shiftKey }),
          },
          element("i", { style: `background: rgb(${color.join(",")})` }),
          name,
        ),
      ),
    );
  }

  mapPanel(term, index, row) {
    if (term === "dependence") return this.dependencePanel(index, row);
    const { spec, title, subtitles } = this.viewer.records[index];
    const comparing = this.viewer.shown.length > 1;
    const panel = this.addPanel({
      name: term,
      title: comparing ? title : TITLES[term],
      subtitle: comparing ? `${TITLES[term]}: ${subtitles[term]}` : subtitles[term],
      unit: UNITS[spec.signed ? "logit" : "uniform"],
      signed: spec.signed,
      row,
      record: index,
    });
    const grid = this.viewer.settings.direction === "column" ? spec.query_grid : spec.key_grid;
    return this.withMap(panel, grid, comparing ? `${TITLES[term]} of ${title}` : TITLES[term]);
  }

  /** Return a panel with the map of a grid, if there is one, and what lies off the picture. */
  withMap(panel, grid, label) {
    panel.addMap(grid, this.viewer.config.image, label);
    this.viewer.tokens.addTo(panel);
    return panel;
  }

  /** The map of how much each query's row differs from the mean row: of the record, not of a query. */
  dependencePanel(index, row) {
    const { records, shown } = this.viewer;
    const { spec, title } = records[index];
    const comparing = shown.length > 1;
    const words = "how far each pixel's row is from the mean row";
    const panel = this.addPanel({
      name: "dependence",
      title: comparing ? title : TITLES.dependence,
      subtitle: comparing ? `${TITLES.dependence}: ${words}` : words,
      unit: UNITS.bits,
      signed: false,
      row,
      record: index,
    });
    return this.withMap(panel, spec.query_grid, comparing ? `${TITLES.dependence} of ${title}` : TITLES.dependence);
  }

  /** Say in the panels of query dependence how much of it is computed. */
  showProgress(done) {
    for (const panel of this.viewer.panels) {
      if (panel.name === "dependence") setText(panel.badge, `computing: ${Math.round(100 * done)} %`);
    }
  }

  differencePanel(term, row) {
    const [one, other] = this.viewer.difference.map((index) => this.viewer.records[index]);
    const column = this.viewer.settings.direction === "column";
    const grid = column ? one.spec.query_grid : one.spec.key_grid;
    const otherGrid = column ? other.spec.query_grid : other.spec.key_grid;
    const sums = column || one.spec.row_sum === other.spec.row_sum ? "" : `; rows sum to ${one.spec.row_sum} and ${other.spec.row_sum}`;
    const panel = this.addPanel({
      name: "difference",
      title: `${one.title} − ${other.title}`,
      subtitle: `${TITLES[term]}${term === "whole" ? sums : ""}`,
      unit: UNITS[one.spec.signed ? "logit-difference" : "difference"],
      signed: true,
      row,
      record: "difference",
    });
    panel.term = term;
    panel.difference = new Float32Array(grid ? grid.width * grid.height : 0);
    panel.places = sameGrid(grid, otherGrid)
      ? null
      : Array.from(panel.difference, (_, at) => positionAt(centerOf(at, grid), otherGrid));
    return this.withMap(panel, grid, `Difference between ${one.title} and ${other.title}`);
  }

  drawMarks() {
    const { selection, settings, rows, records, shown, queryGrid, panels } = this.viewer;
    const project = this.viewer.camera.projection();
    const column = settings.direction === "column";
    const many = selection.queries.length > 1;
    const { lit } = this.viewer.keys;
    const word = this.viewer.pointer.over && this.viewer.readout.classAt(selection.cursor);
    for (const panel of panels) {
      const { query } = rows[panel.row];
      const number = records[panel.record] ? panel.record : shown[0];
      const { spec } = records[number];
      const grid = column ? spec.key_grid : spec.query_grid;
      const places = this.pointsOf(panel.row, number);
      const points = places?.length ? places : null; // a token has none
      /** @type {Shape[]} */
      const shapes = panel.grid && panel.absent ? absentShapes(panel.absent, panel.grid, project) : [];
      if (panel.grid && panel.values && panel.name !== "dependence") {
        shapes.push(
          // of a difference, the strongest are those farthest from zero
          ...mapShapes(panel.difference ? panel.values.map(Math.abs) : panel.values, {
            points: points && !query.category ? points : [],
            grid: panel.grid,
            project,
            marks: settings,
            towards: column,
            signed: panel.signed,
          }),
        );
      } else if (many && !panel.isMap) {
        for (const [index, other] of selection.queries.entries()) {
          const others = other !== query && this.pointsOf(index, number);
          if (!others?.length) continue;
          const options = { color: pinColor(index), label: String(index + 1), faint: true };
          shapes.push(...this.shapesOf(other, others, grid, project, options));
        }
      }
      const index = selection.queries.indexOf(query);
      const options = { color: index < 0 ? "#fff" : pinColor(index), label: many ? String(index + 1) : "" };
      if (points) shapes.push(...this.shapesOf(query, points, grid, project, options));
      const at = positionAt(selection.cursor, grid);
      const onItself = points?.length === 1 && at === positionAt(points[0], grid);
      if ((index >= 0 || !grid) && !onItself && selection.onToken === null) shapes.push(...cursorShapes(selection.cursor, project));
      const begun = this.viewer.pointer.drag?.path ?? (selection.corner && cornersOf([selection.corner, selection.cursor], queryGrid));
      if (begun) shapes.push(...queryShapes(begun, grid, null, project));
      if (lit?.grid && panel.row === Math.min(selection.active, rows.length - 1)) {
        shapes.push(...litShapes(lit.position, lit.grid, project));
      }
      if (word && this.viewer.pointer.over === panel.stage) {
        shapes.push(...wordShapes(word, selection.cursor, project, this.viewer.camera.stageSize.width));
      }
      panel.draw(shapes);
    }
    this.viewer.tokens.mark();
  }
}
