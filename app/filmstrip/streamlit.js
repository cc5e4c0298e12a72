/** The film strip in a Streamlit page, which calls this again on every change of data or theme. */

import { mountFilm } from "./filmstrip.js";

export default function ({ parentElement, data, setStateValue }) {
  return mountFilm(parentElement, data, (pick) => setStateValue("pick", pick));
}
