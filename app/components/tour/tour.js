/** Five steps through the first page. The browser remembers that they were seen. */

import { button, element } from "../../viewer/elements.js";

const SEEN = "nonlocal-lens-tour";

const STEPS = [
  [".shelf", "A picture", "Choose one here, or drop or paste your own anywhere on the page. It stays on this computer."],
  ['[data-panel="photo"] .stage', "Point at it", "Wherever you point, the maps show where the network looks from there. A click or a tap pins the place."],
  ['[data-panel="pairwise"] .stage', "Two parts", "The pairwise term changes with the place that you point at; the unary term beside it is the same from everywhere."],
  [".nl-bits", "Does it matter?", "How far attention is from looking everywhere alike, in bits, cut into what is the same from everywhere and what depends on where you point."],
  ['[data-testid="stTopNavLink"], [data-testid="stExpandSidebarButton"]', "Go on", "Compare networks, watch a clip, measure many pictures, export the figure. The guide shows ten things to look for."],
];

/** Return the first node that fits, in open shadow trees, too. */
function found(selector, root = document) {
  const here = root.querySelector(selector);
  if (here) return here;
  for (const node of root.querySelectorAll("*")) {
    const inside = node.shadowRoot && found(selector, node.shadowRoot);
    if (inside) return inside;
  }
  return null;
}

/** Return whether this is the first visit; a browser that cannot remember is spared. */
function isFirst() {
  if (navigator.webdriver) return false; // a program is nobody who visits
  try {
    return localStorage.getItem(SEEN) === null;
  } catch {
    return false;
  }
}

export default function ({ parentElement }) {
  if (!isFirst() || parentElement.querySelector(".tour")) return undefined;
  let step = 0;
  const ring = element("div", { class: "ring", "aria-hidden": "true" });
  const card = element("div", { class: "card", role: "dialog", "aria-label": "Tour in five steps" });
  const tour = element("div", { class: "tour" }, ring, card);
  const place = () => {
    const target = found(STEPS[step][0]);
    ring.hidden = !target;
    if (!target) return;
    const { left, top, width, height } = target.getBoundingClientRect();
    ring.style.cssText = `left:${left - 4}px;top:${top - 4}px;width:${width + 8}px;height:${height + 8}px`;
  };
  const end = () => {
    try {
      localStorage.setItem(SEEN, "seen");
    } catch {
      // it comes again where nothing can be remembered
    }
    clearInterval(timer);
    document.removeEventListener("keydown", onKey, true);
    tour.remove();
  };
  const show = (next) => {
    step = next;
    const [, title, words] = STEPS[step];
    const last = step === STEPS.length - 1;
    const onward = button(last ? "Done" : "Next", () => (last ? end() : show(step + 1)), { class: "next" });
    card.replaceChildren(
      element("b", {}, title),
      element("p", {}, words),
      element("div", { class: "row" }, element("span", { class: "count" }, `${step + 1} of ${STEPS.length}`), button("Skip the tour", end), onward),
    );
    place();
    onward.focus({ preventScroll: true });
  };
  const onKey = (event) => event.key === "Escape" && end();
  document.addEventListener("keydown", onKey, true); // before the viewer, which keeps its keys to itself
  const timer = setInterval(place, 400); // what it points at comes and moves while the page loads
  parentElement.append(tour);
  show(0);
  return () => {
    clearInterval(timer);
    document.removeEventListener("keydown", onKey, true);
    tour.remove();
  };
}
