/** The viewer in a Streamlit page, which calls this again on every change of data or theme. */

import { mount } from "./viewer.js";

export default function ({ parentElement, data, setStateValue }) {
  return mount(parentElement, data, (_, view) => setStateValue("view", view));
}
