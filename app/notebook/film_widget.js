/** The notebook's side of the film strip: one for every network; both sides may set `queries`. */

import { mountFilm } from "../filmstrip/filmstrip.js";
import { asBytes, standIn } from "./shadow.js";

/**
 * Return a film's pinned query, if any, as those of the clip: a block that pools over time has
 * fewer frames than it, of which each stands for the one in the middle of several.
 */
function queriesOf(film, frames) {
  const { pick } = film;
  return pick ? [[Math.floor(((pick.frame + 0.5) * frames) / film.frames), pick.x, pick.y]] : [];
}

/** Pin the clip's query (or none) in a film that shows another, without telling anybody. */
function pinIn(film, queries, frames) {
  if (queriesOf(film, frames).join() === queries.join()) return;
  const [query] = queries;
  if (!query) return film.pin(null);
  const [frame, x, y] = query;
  film.pin({ frame: Math.floor((frame * film.frames) / frames), x, y });
}

function buildTitle({ config }) {
  const { block, head } = config.records[0];
  const title = document.createElement("h3");
  title.className = "network";
  title.textContent = `${config.title} · ${block}${head === null ? "" : ` head ${head}`}`;
  return title;
}

function render({ model, el }) {
  const { host, leave } = standIn({ model, el });
  const frames = model.get("frames");
  let hosts = [];
  let unmounts = [];

  const hear = (film) => {
    const queries = queriesOf(film, frames);
    if (queries.join() === model.get("queries").join()) return;
    model.set("queries", queries);
    model.save_changes();
  };
  const showQueries = () => {
    for (const { nonlocalFilm } of hosts) pinIn(nonlocalFilm, model.get("queries"), frames);
  };
  const showPayloads = () => {
    for (const unmount of unmounts) unmount();
    hosts = model.get("payloads").map(() => document.createElement("div"));
    host.replaceChildren(...hosts);
    unmounts = hosts.map((place, number) => {
      const payload = asBytes(model.get("payloads")[number]);
      return mountFilm(place, payload, () => hear(place.nonlocalFilm));
    });
    for (const place of hosts) place.before(buildTitle(place.nonlocalFilm));
    showQueries();
  };

  showPayloads();
  model.on("change:payloads", showPayloads);
  model.on("change:queries", showQueries);
  return () => {
    model.off("change:payloads", showPayloads);
    model.off("change:queries", showQueries);
    for (const unmount of unmounts) unmount();
    leave();
  };
}

export default { render };
