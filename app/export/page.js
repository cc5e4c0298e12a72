
// ---------------------------------------------------------------- exported page

const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

/** Mount a viewer for every payload of the page; pins and the list of queries are shared. */
function openPage() {
  const viewers = [];
  const buttons = [...document.querySelectorAll("button[data-query]")];

  const show = (viewer, position) => {
    if (viewer.pinned === position) return;
    if (position !== null) viewer.cursor = centerOf(position, viewer.queryGrid);
    viewer.pin(position);
    if (position === null) viewer.paint();
    else viewer.look(position);
  };
  const sameGrid = (one, other) =>
    one.queryGrid.width === other.queryGrid.width && one.queryGrid.height === other.queryGrid.height;

  for (const section of document.querySelectorAll("section")) {
    const data = section.querySelector("script");
    const host = section.querySelector(".host");
    mount(host, bytesOf(data.textContent), (position) => {
      const viewer = host.nonlocalLens;
      for (const other of viewers) if (sameGrid(viewer, other)) show(other, position);
      for (const button of buttons) {
        const pinned = viewer.exportedQueries[button.dataset.query] === position;
        button.setAttribute("aria-pressed", pinned);
      }
    });
    const viewer = host.nonlocalLens;
    viewer.exportedQueries = JSON.parse(data.dataset.queries);
    viewers.push(viewer);
    if (viewer.exportedQueries.length) {
      viewer.cursor = centerOf(viewer.exportedQueries[0], viewer.queryGrid);
      viewer.look(viewer.exportedQueries[0]);
    }
    data.remove(); // its text is as large as the payload
  }
  for (const button of buttons) {
    button.addEventListener("click", () => {
      for (const viewer of viewers) show(viewer, viewer.exportedQueries[button.dataset.query]);
    });
  }
}

openPage();
