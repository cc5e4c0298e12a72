/** Thumbnails to choose a picture from, and a place to drop, paste or choose one's own. */

const IMAGE = /^image\//;

function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

async function base64Of(file) {
  const url = await new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => failed(reader.error);
    reader.readAsDataURL(file);
  });
  return url.slice(url.indexOf(",") + 1);
}

export default function ({ parentElement, data, setTriggerValue }) {
  const status = node("span", { class: "said", role: "status" });
  const take = async (file) => {
    if (!file) return;
    if (file.size > data.most) {
      status.textContent = `${file.name} is larger than ${data.most / 1e6} MB`;
      return;
    }
    status.textContent = `Reading ${file.name}…`;
    setTriggerValue("file", { name: file.name || "pasted.png", data: await base64Of(file) });
  };
  const input = node("input", {
    type: "file", accept: "image/*", class: "hidden", tabindex: "-1", "aria-hidden": "true",
    onchange: () => take(input.files[0]),
  });
  const shelf = node(
    "div",
    { class: "shelf", role: "group", "aria-label": "Pictures" },
    ...data.pictures.map(({ id, alt, image }) =>
      node(
        "button",
        {
          type: "button", title: alt, "aria-label": alt, "data-picture": id,
          "aria-pressed": String(id === data.current),
          onclick: () => setTriggerValue("picture", id),
        },
        node("img", { src: image, alt: "", draggable: "false" }),
      ),
    ),
    node(
      "button",
      { type: "button", class: "own", title: "Drop a picture anywhere, paste it, or choose a file", onclick: () => input.click() },
      "drop, paste or choose",
    ),
    input,
    status,
  );
  parentElement.querySelector(".shelf")?.remove();
  parentElement.append(shelf);

  const files = (event) => [...(event.dataTransfer ?? event.clipboardData)?.files ?? []].filter(({ type }) => IMAGE.test(type));
  const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const elsewhere = (event) => event.composedPath().some((one) => one.dataset?.testid === "stFileUploaderDropzone");
  const over = (event) => {
    if (!carries(event) || elsewhere(event)) return;
    event.preventDefault();
    shelf.classList.add("over");
  };
  const left = () => shelf.classList.remove("over");
  const dropped = (event) => {
    left();
    const [file] = files(event);
    if (!file || elsewhere(event)) return;
    event.preventDefault();
    take(file);
  };
  const pasted = (event) => {
    const [file] = files(event);
    if (file) take(file);
  };
  const heard = { dragover: over, dragleave: left, drop: dropped, paste: pasted };
  for (const [name, hear] of Object.entries(heard)) document.addEventListener(name, hear);
  return () => {
    for (const [name, hear] of Object.entries(heard)) document.removeEventListener(name, hear);
    shelf.remove();
  };
}
