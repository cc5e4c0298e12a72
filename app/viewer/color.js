/** From values to colors that say what they mean: ranges, palettes, numbers as text. */

const LOG_FLOOR = 0.01; // multiples of uniform; lower values share the lowest color of the log scale

const PER_MAP_TOP = 0.99; // a map that is rescaled to itself ends at this share of its cells

/** Return the least value that is not below this share of sorted ones. */
export function percentile(sorted, share) {
  return sorted.length ? sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] : 0;
}

/**
 * Return what the two ends of the color bar stand for; 0 is the middle of signed.
 *
 * @param {ArrayLike<number>} values
 * @param {string} mode
 * @param {{ scale_top?: number, peak?: number, signed?: boolean, fixed?: number }} ends
 * @returns {ColorRange}
 */
export function rangeOf(values, mode, { scale_top: top, peak, signed, fixed }) {
  const limit = mode === "fixed" && fixed > 0 ? fixed : top;
  if (signed) {
    const sizes = mode === "per-map" ? Float32Array.from(values, Math.abs).filter((value) => value === value).sort() : null;
    const high = sizes ? percentile(sizes, PER_MAP_TOP) : limit;
    return { low: -(high || 1e-6), high: high || 1e-6, log: false };
  }
  if (mode === "log") return { low: LOG_FLOOR, high: Math.max(peak, 10), log: true };
  if (mode !== "per-map") return { low: 0, high: limit, log: false };
  const sorted = Float32Array.from(values).filter((value) => value === value).sort();
  const [low, high] = [sorted[0] ?? 0, percentile(sorted, PER_MAP_TOP)];
  return { low, high: high > low ? high : low + 1e-6, log: false };
}

/** Return the scale that all records of one unit share: the largest of theirs, of what is on the picture if that is shown. */
export function sharedScale(specs, onPicture = false) {
  const largest = (name) => Math.max(...specs.map((spec) => (onPicture ? (spec[`picture_${name}`] ?? spec[name]) : spec[name])));
  return { scale_top: largest("scale_top"), peak: largest("peak") };
}

/** Return the place of a value on a color bar, 0 to 1 and beyond. */
export function levelOf(value, { low, high, log }) {
  return log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
}

const NOT_A_NUMBER = 0xffff00ff; // magenta (little-endian ABGR): in no palette, so NaN is visible

/**
 * Paint values into RGBA pixels, nothing where a cell is `absent`; return how many lie above the
 * range, or below that of signed ones.
 *
 * @param {ArrayLike<number>} values
 * @param {ColorRange} range
 * @param {ArrayLike<number>} palette
 * @param {Uint32Array} pixels
 * @param {Uint8Array | null} [absent]
 */
export function colorize(values, range, palette, pixels, absent = null) {
  const { low, high, log } = range;
  const factor = 255 / (log ? Math.log(high / low) : high - low);
  let clipped = 0;
  for (let j = 0; j < values.length; j++) {
    const value = values[j];
    if (value !== value) {
      pixels[j] = absent?.[j] ? 0 : NOT_A_NUMBER;
      continue;
    }
    if (value > high || (low < 0 && value < low)) clipped++;
    const level = (log ? Math.log(value / low) : value - low) * factor;
    pixels[j] = palette[level <= 0 ? 0 : level >= 255 ? 255 : (level + 0.5) | 0];
  }
  return clipped;
}

/** Return the 256 colors of a palette as opaque little-endian ABGR words. */
export function paletteWords(rgb, index) {
  const words = new Uint32Array(256);
  for (let level = 0; level < 256; level++) {
    const at = (index * 256 + level) * 3;
    words[level] = (255 << 24) | (rgb[at + 2] << 16) | (rgb[at + 1] << 8) | rgb[at];
  }
  return words;
}

/** Return a palette that lets the photo through where values are low, or near 0 if signed. */
export function faded(words, signed) {
  return words.map((word, level) => {
    const share = signed ? Math.abs(level - 127.5) / 127.5 : level / 255;
    return ((Math.round(255 * share) << 24) | (word & 0xffffff)) >>> 0;
  });
}

/** Return a number of about three digits: 0.0123, 1.23, 12.3, 1230. */
export function formatValue(value) {
  if (!Number.isFinite(value)) return String(value);
  if (value !== 0 && Math.abs(value) < 1e-4) return value.toExponential(2);
  return Math.abs(value) >= 1000 ? String(Math.round(value)) : String(+value.toPrecision(3));
}

/** Colors of pinned queries (Okabe and Ito's, told apart with any color vision); numbers say the same. */
export const PIN_COLORS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#0072b2", "#ffffff"];

export function pinColor(index) {
  return PIN_COLORS[index % PIN_COLORS.length];
}
