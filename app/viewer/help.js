/** The list of keys and of what the pointer does. */

import { button, element } from "./elements.js";

const KEYS = [
  ["Arrow keys", "move the query by a cell (Shift: by five)"],
  ["Page Up, Page Down", "move it by ten rows"],
  ["Home, End", "move it to the start or the end of its row"],
  ["Enter", "keep the pin there; then the arrows move a free cursor, and Enter pins or lets go as a click does"],
  ["Shift + Enter", "pin one more query at the cursor"],
  ["T", "to the tokens that lie nowhere (class, registers, words) and back; the arrows move among them"],
  ["R", "mark a corner here; then, elsewhere, take the region between"],
  ["S", "ask for all of the predicted class under the cursor, “all road”; again: for that place alone"],
  ["1 to 9", "choose one of the pins"],
  ["Delete", "remove the chosen query"],
  ["U, Ctrl + Z", "undo the last pin"],
  ["[ and ]", "move it earlier or later in the list"],
  ["N", "rename it"],
  ["Esc", "remove all queries"],
  ["O", "switch the maps off and on"],
  ["D", "where this pixel looks / who looks here"],
  ["A, B, C", "arrows, boxes, contours"],
  ["+, −, Backspace", "zoom in, out, fit"],
  ["F", "full screen"],
  ["In a clip: Space", "play, pause"],
  ["comma, period", "a frame back, on (Home, End: the first, the last)"],
  ["?", "this list"],
];

const POINTER = [
  ["Hover, click", "preview a query, pin it; click it again to let it go"],
  ["Shift + click, long press", "pin one more"],
  ["Drag", "the mean attention of a region (Alt: lasso; Shift: one more)"],
  ["A class of the legend", "the mean attention of all that is predicted so (Shift: one more)"],
  ["Ctrl + wheel", "zoom; drag with the middle button to move"],
];

export function buildHelp() {
  const rows = (pairs) => pairs.flatMap(([key, text]) => [element("dt", {}, key), element("dd", {}, text)]);
  const dialog = element(
    "dialog",
    { class: "help", "aria-label": "Keyboard and pointer", onclick: (event) => event.target === dialog && dialog.close() },
    element(
      "div",
      {},
      element("h3", {}, "Pointer"),
      element("dl", {}, ...rows(POINTER)),
      element("h3", {}, "Keyboard, when the maps have the focus"),
      element("dl", {}, ...rows(KEYS)),
      button("Close", () => dialog.close()),
    ),
  );
  return dialog;
}
