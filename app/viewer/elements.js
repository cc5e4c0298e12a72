/** Making and changing nodes of a page, with nothing that a strict content-security policy bars. */

export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value;
    else if (name === "style") node.style.cssText = value; // as an attribute, strict policies bar it
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

export function button(text, onclick, attributes = {}) {
  return element("button", { type: "button", onclick, ...attributes }, text);
}

export function setText(node, text) {
  if (node.firstChild?.data !== text) node.textContent = text;
}

/** Return the SVG attributes of a shape, see marks.js. */
export function shapeAttributes(shape) {
  if (shape.text === undefined) {
    return {
      d: shape.d,
      fill: shape.fill ?? "none",
      stroke: shape.stroke,
      "stroke-width": shape.width,
      "stroke-dasharray": shape.dash ?? "none",
      "stroke-linejoin": "round",
      "stroke-linecap": "round",
    };
  }
  return {
    x: shape.x,
    y: shape.y,
    fill: shape.fill,
    "font-size": shape.size ?? 13,
    "font-weight": 700,
    "font-family": "system-ui, sans-serif",
    stroke: "#000",
    "stroke-width": 3,
    "stroke-linejoin": "round",
    "paint-order": "stroke",
  };
}

/** Make an SVG show these shapes and nothing else; what has not changed is not touched. */
export function drawShapes(svg, shapes) {
  const nodes = svg.children;
  for (const [index, shape] of shapes.entries()) {
    const tag = shape.text === undefined ? "path" : "text";
    let node = nodes[index];
    if (node?.tagName !== tag) {
      const fresh = document.createElementNS("http://www.w3.org/2000/svg", tag);
      if (node) node.replaceWith(fresh);
      else svg.append(fresh);
      node = fresh;
    }
    for (const [name, value] of Object.entries(shapeAttributes(shape))) {
      const text = String(value);
      if (node.getAttribute(name) !== text) node.setAttribute(name, text);
    }
    if (shape.text !== undefined) setText(node, shape.text);
  }
  while (nodes.length > shapes.length) svg.lastChild.remove();
}

/** Offer bytes or text as a file. */
export function download(name, content, type) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = element("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Return a name that is a safe file name everywhere. */
export function fileName(text) {
  return text.replace(/[^\p{L}\p{N}._-]+/gu, "_").replace(/^[._]+|[._]+$/g, "").slice(0, 80) || "attention";
}
