/** A page of its own: its payload, with the view it was saved in. */

import { bytesOf } from "./buffer.js";
import { mount } from "./viewer.js";

function openPage() {
  /** @type {HTMLScriptElement} */
  const data = document.querySelector("script[data-view]");
  const host = document.querySelector(".host");
  mount(host, bytesOf(data.textContent));
  host.nonlocalLens.applyView(JSON.parse(data.dataset.view));
  data.remove(); // its text is as large as the payload
}

openPage();
