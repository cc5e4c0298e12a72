/**
 * Where a widget stands in a notebook: in a shadow root, which keeps its styles and the page's
 * apart, instead of the still picture.
 */

const styles = new CSSStyleSheet();
styles.replaceSync(STYLE);

export const asBytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

/** Return an element to stand in, and what brings the still picture back. */
export function standIn({ model, el }) {
  const root = el.shadowRoot ?? el.attachShadow({ mode: "open" });
  root.adoptedStyleSheets = [styles];
  el.dataset.lmSuppressShortcuts = "true"; // the keys of JupyterLab's command mode

  // the static picture stands in for the viewer: now it need not
  const hiding = document.createElement("style");
  const still = `.${CSS.escape(model.get("static_class"))}`;
  hiding.textContent = `.jp-OutputArea-child:has(${still}), ${still} { display: none !important; }`;
  document.head.append(hiding);

  const host = document.createElement("div");
  root.replaceChildren(host);
  return { host, leave: () => hiding.remove() };
}
