/** The notebook's side of the viewer: both sides may set `queries`. */

import { centerOf, middleOf, positionAt } from "../viewer/geometry.js";
import { mount } from "../viewer/viewer.js";
import { asBytes, standIn } from "./shadow_root.js";

/**
 * Return the pinned queries as Python knows them: in a picture indices of the first network's
 * queries, in a clip frames with image points, or with the name of a token.
 */
function queriesOf(viewer) {
  const { queryAxis: axis } = viewer.records[0].attention;
  if (viewer.config.frames) {
    return viewer.queries.map(({ points, token, frame }) => {
      if (token !== undefined) return [frame, token];
      const { x, y } = middleOf(points);
      return [frame, Math.round(x * 10) / 10, Math.round(y * 10) / 10];
    });
  }
  return viewer.queries
    .map(({ points, token }) => (token === undefined ? axis.at(positionAt(middleOf(points), axis.grid)) : axis.index(token)))
    .filter((index) => index !== null);
}

/** Pin queries (or none) without telling anybody: whoever calls knows. */
function pinAll(viewer, queries) {
  if (String(queriesOf(viewer)) === String(queries)) return;
  const { queryAxis: axis } = viewer.records[0].attention;
  const pins = queries.map((query) => {
    if (Array.isArray(query)) {
      const [frame, ...spot] = query;
      return spot.length === 1 ? { token: spot[0], frame } : { points: [spot], frame };
    }
    const cell = axis.cell(query);
    if (cell === null) return { token: axis.name(query) };
    const { x, y } = centerOf(cell, axis.grid);
    return { points: [[x, y]] };
  });
  viewer.applyView({ queries: pins }, viewer.given);
}

function render({ model, el }) {
  const { host, leave } = standIn({ model, el });
  let unmount = () => {};

  const hear = () => {
    const queries = queriesOf(host.nonlocalLens);
    if (String(queries) === String(model.get("queries"))) return;
    model.set("queries", queries);
    model.save_changes();
  };
  const showQueries = () => host.nonlocalLens && pinAll(host.nonlocalLens, model.get("queries"));
  const showPayload = () => {
    const payload = asBytes(model.get("payload"));
    if (!payload.length) {
      unmount(); // it was closed
      unmount = () => {};
      return;
    }
    unmount = mount(host, payload, hear);
    showQueries();
  };

  showPayload();
  model.on("change:payload", showPayload);
  model.on("change:queries", showQueries);
  return () => {
    model.off("change:payload", showPayload);
    model.off("change:queries", showQueries);
    unmount();
    leave();
  };
}

export default { render };
