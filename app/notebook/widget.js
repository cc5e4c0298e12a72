/** The notebook's side of the viewer: both sides may set `queries`. */

import { centerOf, middleOf, positionAt } from "../viewer/geometry.js";
import { mount } from "../viewer/viewer.js";
import { asBytes, standIn } from "./shadow.js";

/** Return the pinned queries as flat positions of the first network's query grid. */
function positionsOfPinned(viewer) {
  const grid = viewer.records[0].spec.query_grid;
  return viewer.queries
    .map(({ points }) => positionAt(middleOf(points), grid))
    .filter((position) => position !== null);
}

/** Pin queries (or none) without telling anybody: whoever calls knows. */
function pinAll(viewer, positions) {
  if (positionsOfPinned(viewer).join() === positions.join()) return;
  const grid = viewer.records[0].spec.query_grid;
  const points = positions.map((position) => centerOf(position, grid));
  viewer.applyView({ queries: points.map(({ x, y }) => ({ points: [[x, y]] })) }, viewer.given);
}

function render({ model, el }) {
  const { host, leave } = standIn({ model, el });
  let unmount = () => {};

  const hear = () => {
    const queries = positionsOfPinned(host.nonlocalLens);
    if (queries.join() === model.get("queries").join()) return;
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
