/** Taking the view away: as a picture, a drawing, records, a page, a link; and what they say of it. */

import { settingsInWords } from "./controls.js";
import { download, fileName, setText } from "./elements.js";
import { figureOf, paintFigure, svgOf } from "./figure.js";
import { fillPage, recordBytes } from "./save_record.js";

const LINK_MS = 4000; // the longest that a link waits for the host to answer
const LINK_REST_MS = 1000; // between answers, should several be under way

export class Saving {
  constructor(viewer) {
    this.viewer = viewer;
  }

  /** Return what the view shows, in words: networks, blocks, hashes, scale, version. */
  provenance() {
    const { settings, config } = this.viewer;
    const records = this.viewer.shown.map((index) => this.viewer.records[index].spec.about);
    const { frame, frames } = this.viewer;
    const time = frames > 1 ? ` · frame ${frame + 1} of ${frames} (${config.frames[frame].time.toFixed(2)} s)` : "";
    return [
      (config.name ?? config.image.alt) + time,
      ...records,
      [...settingsInWords(settings), settings.palette, config.product].join(" · "),
    ];
  }

  stem() {
    const { config } = this.viewer;
    return fileName([config.name ?? config.image.alt, ...this.viewer.shown.map((index) => this.viewer.records[index].title)].join(" "));
  }

  async png() {
    const canvas = paintFigure(figureOf(this.viewer), this.viewer, Math.max(2, devicePixelRatio));
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }

  /** Whether the browser lets pages copy pictures: over https and on this computer only. */
  get canCopy() {
    return Boolean(navigator.clipboard?.write && globalThis.ClipboardItem);
  }

  async copyPicture(button) {
    const item = new ClipboardItem({ "image/png": this.png() });
    const said = await navigator.clipboard.write([item]).then(() => "Picture copied", () => "The browser does not allow it");
    setText(button, said);
    setTimeout(() => setText(button, "Copy the picture"), 2500);
  }

  async savePng() {
    const blob = await this.png();
    download(`${this.stem()}.png`, blob, "image/png");
  }

  saveSvg() {
    download(`${this.stem()}.svg`, svgOf(figureOf(this.viewer), this.viewer), "image/svg+xml");
  }

  /** Save a record: of a clip, the one that the frame shown belongs to. */
  saveRecord(index) {
    const { records, config, frame } = this.viewer;
    const record = records[index];
    const { title, spec } = record;
    const bytes = recordBytes({ spec, arrays: record.arraysAt(frame) }, config.product);
    const time = record.parts.length > 1 ? ` f${String(frame).padStart(3, "0")}` : "";
    download(`${fileName(`${title} ${spec.block}${time}`)}.safetensors`, bytes, "application/octet-stream");
  }

  /** Whether the host brought the template of a page: an exported page has none, being one. */
  get canSavePage() {
    return typeof STANDALONE_PAGE === "string";
  }

  savePage() {
    const { config } = this.viewer;
    const { query, ...view } = this.viewer.choices.describeView();
    const page = fillPage(STANDALONE_PAGE, {
      title: config.name ?? config.image.alt,
      about: this.provenance(),
      view,
      payload: this.viewer.bytes,
    });
    download(`${this.stem()}.html`, page, "text/html");
  }

  async copyLink(button) {
    setText(button, "Copying…");
    this.viewer.tellNow();
    await this.addressWritten();
    const said = await copyText(location.href).then(() => "Link copied", () => "Copy the address above");
    setText(button, said);
    setTimeout(() => setText(button, "Copy link"), 2500);
  }

  /** Wait until the host has written what it was told: until the address has changed and then rests. */
  async addressWritten() {
    let address = location.href;
    let changedAt = null;
    while (Date.now() - this.viewer.toldAt < LINK_MS && (changedAt === null || Date.now() - changedAt < LINK_REST_MS)) {
      await new Promise((done) => setTimeout(done, 50));
      if (location.href !== address) [address, changedAt] = [location.href, Date.now()];
    }
  }
}

async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  throw new Error("no clipboard without https");
}
