/** Two pictures in one place, and a slider that shows more of the one or of the other. */

import { element } from "../../viewer/elements.js";

export default function ({ parentElement, data }) {
  const [before, after] = data.pictures;
  const kept = parentElement.querySelector("input")?.value ?? "50";
  const over = element("img", { src: after.image, alt: after.alt, class: "after" });
  const line = element("span", { class: "edge", "aria-hidden": "true" });
  const slider = element("input", {
    type: "range",
    min: "0",
    max: "100",
    value: kept,
    "aria-label": `${before.name} or ${after.name}: how much of each is seen`,
    oninput: () => show(),
  });
  const show = () => {
    over.style.clipPath = `inset(0 0 0 ${slider.value}%)`;
    line.style.left = `${slider.value}%`;
    slider.setAttribute("aria-valuetext", `${slider.value} % ${before.name}`);
  };
  const pair = element(
    "figure",
    { class: "pair" },
    element("figcaption", {}, element("span", {}, before.name), element("span", {}, after.name)),
    element("div", { class: "both" }, element("img", { src: before.image, alt: before.alt }), over, line, slider),
  );
  parentElement.querySelector(".pair")?.remove();
  parentElement.append(pair);
  show();
  return () => pair.remove();
}
