/** A page of its own: the parts of one wall, one after the other. */

import { Atlas } from "./atlas.js";
import { bytesOf } from "../viewer/buffer.js";

/** Return the buffers of `together` in payload.py. */
export function buffersOf(bytes) {
  const found = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Number(new DataView(bytes.buffer, bytes.byteOffset + at, 8).getBigUint64(0, true));
    found.push(bytes.subarray(at + 8, at + 8 + length));
    at += 8 + length;
  }
  return found;
}

function openAtlas() {
  /** @type {HTMLScriptElement} */
  const data = document.querySelector("script[data-view]");
  const host = document.querySelector(".host");
  const wall = new Atlas(host, {});
  host.nonlocalAtlas = wall;
  for (const buffer of buffersOf(bytesOf(data.textContent))) wall.show(buffer);
  data.remove(); // its text is as large as the parts
}

openAtlas();
