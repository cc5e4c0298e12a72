/** The viewer in a Streamlit page, which calls this again on every change of data or theme. */

import { mount } from "./viewer.js";

/**
 * What takes the one viewer of the page away, and where it is.
 *
 * A run that was interrupted (the user chose again while it was on its way) leaves its viewer on the
 * page until the next run ends, beside that run's own. The newer one takes its place.
 */
let shown = null;

export default function ({ parentElement, data, setStateValue }) {
  if (shown && shown.host !== parentElement) shown.away();
  const away = mount(parentElement, data, (_, view) => setStateValue("view", view));
  shown = { host: parentElement, away };
  return away;
}
