/** An exported page: a film strip for every payload in it. */

import { mountFilm } from "./filmstrip.js";

for (const section of document.querySelectorAll("section")) {
  const data = section.querySelector("script");
  const bytes = Uint8Array.from(atob(data.textContent), (letter) => letter.charCodeAt(0));
  mountFilm(section.querySelector(".host"), bytes);
  data.remove(); // its text is as large as the payload
}
