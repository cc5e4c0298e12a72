/** The atlas in a Streamlit page: one component shows the wall, others bring it its parts. */

import { Atlas } from "./atlas.js";
import { parseConfig } from "../viewer/buffer.js";

let wall = null; // the one of the page
const early = new Map(); // parts that came before their wall, by its id

function deliver(bytes, id) {
  if (wall?.config?.id === id) wall.show(bytes);
  else early.set(id, [...(early.get(id) ?? []), bytes]);
}

export default function ({ parentElement, data, setStateValue, setTriggerValue }) {
  const config = parseConfig(data);
  if (config.part > 0) {
    deliver(data, config.id);
    return () => {};
  }
  if (wall?.host !== parentElement) {
    wall?.destroy();
    wall = new Atlas(parentElement, {});
    wall.host = parentElement;
  }
  wall.root.style.setProperty("--beside", "6.5rem"); // room for what the page has beside the bar
  wall.hears = {
    view: (view) => setStateValue("view", view),
    open: (title) => setTriggerValue("open", title),
    compare: (titles) => setTriggerValue("compare", titles),
  };
  wall.show(data);
  for (const bytes of early.get(config.id) ?? []) wall.show(bytes);
  early.clear();
  return () => {
    if (wall?.host === parentElement) {
      wall.destroy();
      wall = null;
    }
  };
}
