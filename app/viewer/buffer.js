/** One safetensors buffer in, typed arrays out, and the other way round: see payload.py. */

const HALF = (() => {
  let table;
  return () => {
    if (table) return table;
    table = new Float32Array(65536);
    for (let bits = 0; bits < 65536; bits++) {
      const exponent = (bits >> 10) & 31;
      const fraction = bits & 1023;
      const magnitude =
        exponent === 0 ? fraction * 2 ** -24
        : exponent === 31 ? (fraction ? NaN : Infinity)
        : (1 + fraction / 1024) * 2 ** (exponent - 15);
      table[bits] = bits & 0x8000 ? -magnitude : magnitude;
    }
    return table;
  };
})();

const DECODERS = {
  U8: (buffer) => new Uint8Array(buffer),
  I32: (buffer) => new Int32Array(buffer),
  F32: (buffer) => new Float32Array(buffer),
  F16: (buffer) => {
    // @ts-ignore: ten times as fast, and not in every browser yet
    if (globalThis.Float16Array) return new Float32Array(new globalThis.Float16Array(buffer));
    const table = HALF();
    return Float32Array.from(new Uint16Array(buffer), (bits) => table[bits]);
  },
};

/** Return only the configuration of a payload: cheap, to see whether it is a new one. */
export function parseConfig(bytes) {
  const { header } = readHeader(bytes);
  return JSON.parse(header.__metadata__.config);
}

/** Return { config, tensors }: every tensor as a typed array of its own, halves widened. */
export function parse(bytes) {
  const { header, start } = readHeader(bytes);
  const { __metadata__: metadata, ...entries } = header;
  const tensors = {};
  for (const [name, { dtype, data_offsets: [from, to] }] of Object.entries(entries)) {
    // sliced, because a typed array must begin at a multiple of its element size
    const begin = bytes.byteOffset + start;
    tensors[name] = DECODERS[dtype](bytes.buffer.slice(begin + from, begin + to));
  }
  return { config: JSON.parse(metadata.config), tensors };
}

/** Return the tensors of one record by their own names, those after its number. */
export function tensorsOf(tensors, index) {
  const start = `${index}.`;
  const own = Object.entries(tensors).filter(([name]) => name.startsWith(start));
  return Object.fromEntries(own.map(([name, values]) => [name.slice(start.length), values]));
}

function readHeader(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = Number(view.getBigUint64(0, true));
  const text = new TextDecoder().decode(new Uint8Array(bytes.buffer, bytes.byteOffset + 8, length));
  return { header: JSON.parse(text), start: 8 + length };
}

/** Return a safetensors file of { name: { shape, values } }: integers, or single precision. */
export function safetensorsOf(tensors, metadata) {
  const header = { __metadata__: metadata };
  let size = 0;
  for (const [name, { shape, values }] of Object.entries(tensors)) {
    const dtype = values instanceof Int32Array ? "I32" : "F32";
    header[name] = { dtype, shape, data_offsets: [size, size + 4 * values.length] };
    size += 4 * values.length;
  }
  const plain = new TextEncoder().encode(JSON.stringify(header));
  const length = Math.ceil(plain.length / 8) * 8;
  const bytes = new Uint8Array(8 + length + size).fill(32, 8, 8 + length); // padded with spaces
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(plain, 8);
  for (const [name, { values }] of Object.entries(tensors)) {
    const Kind = values instanceof Int32Array ? Int32Array : Float32Array;
    new Kind(bytes.buffer, 8 + length + header[name].data_offsets[0], values.length).set(values);
  }
  return bytes;
}

export function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

export function base64Of(bytes) {
  const parts = [];
  for (let at = 0; at < bytes.length; at += 0x8000) {
    parts.push(String.fromCharCode(...bytes.subarray(at, at + 0x8000)));
  }
  return btoa(parts.join(""));
}
