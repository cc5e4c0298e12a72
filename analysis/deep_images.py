"""Pictures whose values are more than 8 bits: which range they have, and 8 bits of that range.

Nothing is stretched to its contrast: whole numbers keep the depth that holds them, and what was
decided is said in a sentence.
"""

import io
import logging
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Num, UInt8
from PIL import Image

from nonlocal_lens.analysis.file_kinds import HEAD_BYTES
from nonlocal_lens.analysis.picture_bytes import is_deep_png, without_metadata, without_texts
from nonlocal_lens.models.limits import MOST_PICTURE_BYTES

DEPTHS = (8, 10, 12, 14, 16)
"""Bits that cameras and scanners give; unsigned whole numbers have the least that holds them."""

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, CMYK, YCBCR, CIELAB = 0, 1, 2, 3, 4, 5, 6, 8
READ = (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR)
"""What a TIFF's colors may be; the numbers are those of the format."""

ALPHAS = (1, 2)  # of a TIFF's extra samples: multiplied into the color already, or not
AT_A_TIME = 1 << 22  # values that are computed with: as doubles they take eight bytes each
BETWEEN = rb"(?:\s|#[^\n]*\n)+"
NETPBM = re.compile(BETWEEN.join([rb"(P[56])", rb"(\d{1,9})", rb"(\d{1,9})", rb"(\d{1,5})\s"]))
"""The header of a binary PGM or PPM: its kind, width, height and largest value."""

CheckSize = Callable[[int, int], None]


class NotShownError(ValueError):
    """Why a picture is not shown, in a sentence that says all: to be passed on as it is."""


class Shown(NamedTuple):
    """Deep values as 8 bits."""

    image: UInt8[np.ndarray, "height width 3"]
    note: str


class Range(NamedTuple):
    """Which value is black, which is white, and how that is known."""

    black: float
    white: float
    why: str


def shown(
    values: Num[np.ndarray, "height width channels"],
    *,
    full: float | None = None,
    told: Range | None = None,
    inverted: bool = False,
    no_data: float | None = None,
    more: str = "",
) -> Shown:
    """Return deep values as 8-bit RGB.

    Args:
        values: One channel or three, and maybe alpha as the last: in the range of the others where
            it fits into that, else in the whole of its type.
        full: The white value where the format says it for certain: then nothing needs a note.
        told: The range that the file says.
        inverted: Whether the smallest value is white.
        no_data: The value of pixels that hold nothing; NaN and infinite ones never do.
        more: What else is to be said.

    Raises:
        ValueError: There are no values to show.
    """
    if values.dtype.kind == "c":
        raise NotShownError(
            "the image holds complex numbers, which have no gray: save their magnitude"
        )
    channels = values.shape[2]
    color = values[..., : 3 if channels > 2 else 1]
    missing = _missing(color, no_data)
    held = color[~missing] if missing.any() else color
    if not held.size:
        raise NotShownError("the image holds no finite values: there is nothing to show")
    chosen = Range(0, full, "") if full is not None else (told or range_of(held))
    alpha_white = None
    if channels in (2, 4):
        within = chosen.black == 0 and values[..., -1].max() <= chosen.white
        alpha_white = chosen.white if within else _whole(values.dtype)
    table = None
    if values.dtype in (np.uint8, np.uint16):
        table = _part_of(np.arange(1 << 8 * values.dtype.itemsize), chosen, inverted)
    image: UInt8[np.ndarray, ...] = np.empty(color.shape, np.uint8)
    rows = max(1, AT_A_TIME // (values.shape[1] * channels))
    for start in range(0, len(values), rows):
        some = slice(start, start + rows)
        part = _part_of(color[some], chosen, inverted) if table is None else table[color[some]]
        if alpha_white is not None:
            alpha = np.clip(values[some, :, -1:].astype(np.float64) / alpha_white, 0, 1)
            part = part * alpha + (1 - alpha)
        part[missing[some]] = 1
        image[some] = np.rint(part * 255)
    image = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    notes = [] if full is not None else [_range_in_words(values.dtype, chosen, inverted)]
    if missing.any():
        share = missing.mean()
        notes.append(f"{share:.1%} of its pixels hold no data and are shown white")
    return Shown(image, "; ".join([*notes, *([more] if more else [])]))


def _part_of(
    values: Num[np.ndarray, "..."], chosen: Range, inverted: bool
) -> Float[np.ndarray, "..."]:
    """Return where values lie in a range, from 0 to 1."""
    part = (values.astype(np.float64) - chosen.black) / (chosen.white - chosen.black)
    part = np.clip(np.nan_to_num(part), 0, 1)
    return 1 - part if inverted else part


def range_of(values: Num[np.ndarray, "..."]) -> Range:
    """Return the range of values that nothing is known of: by the rule that the note tells.

    Unsigned whole numbers have the smallest depth of `DEPTHS` that holds them. Floats in [0, 1]
    have that range, and whole ones up to 255 are 8-bit values. All else goes from the smallest
    value, or 0 if there is none below, to the largest.

    Raises:
        ValueError: All values are one, and below 0 or beyond 16 bits.
    """
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind in "ub" or (values.dtype.kind == "i" and low >= 0):
        for bits in DEPTHS:
            if high < 2**bits:
                depths = ", ".join(map(str, DEPTHS[:-1]))
                return Range(
                    0,
                    2**bits - 1,
                    f"{bits} bits are the least of {depths} and {DEPTHS[-1]} that hold the largest "
                    f"value, {high:.0f}",
                )
    elif low >= 0 and high <= 1:
        return Range(0, 1, "floats up to 1 are taken to be parts of 1")
    elif low >= 0 and high <= 255 and _are_whole(values):
        return Range(0, 255, "whole numbers up to 255 are taken to be 8-bit values")
    black = min(low, 0.0) if low >= 0 else low
    if high <= black:
        raise NotShownError(
            f"all values of the image are {low:g}, which is no range: they must be finite and at "
            "least 0, or differ"
        )
    ends = "the smallest and the largest value are" if black else "0 and the largest value are"
    return Range(black, high, f"{ends} taken, as nothing tells the range")


def _are_whole(values: Num[np.ndarray, "..."]) -> bool:
    parts = np.array_split(values, max(1, values.size // AT_A_TIME))
    return all(bool((part == np.floor(part)).all()) for part in parts)


def _range_in_words(dtype: np.dtype[Any], chosen: Range, inverted: bool) -> str:
    kinds = {"u": "unsigned", "i": "signed", "f": "float", "b": "binary"}
    kind = f"{dtype.itemsize * 8}-bit {kinds[dtype.kind]} values"
    black, white = ("white", "black") if inverted else ("black", "white")
    return (
        f"{kind}: {chosen.black:g} is shown {black} and {chosen.white:g} {white}, because "
        f"{chosen.why}"
    )


def _missing(
    color: Num[np.ndarray, "height width channels"], no_data: float | None
) -> Bool[np.ndarray, "height width"]:
    missing = np.zeros(color.shape[:2], bool)
    if color.dtype.kind == "f":
        missing |= ~np.isfinite(color).all(axis=2)
    if no_data is not None:
        missing |= (color == no_data).all(axis=2)
    return missing


def _whole(dtype: np.dtype[Any]) -> float:
    return 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)


def read(
    data: bytes, suffix: str, check_size: CheckSize, *, whatever: bool = False
) -> Shown | None:
    """Return the picture in a file whose values are deep; None where Pillow reads it as well.

    Args:
        data: The file.
        suffix: What it is, see `analysis.file_kinds.sniffed`.
        check_size: Raises where a picture of this width and height is not to be read.
        whatever: Read a TIFF that Pillow should read, too.
    """
    if suffix == ".png" and is_deep_png(data):
        return _read_png(data, check_size)
    if suffix == ".tif":
        return _read_tiff(data, check_size, whatever=whatever)
    if suffix in (".jp2", ".j2k"):
        return _read_jpeg_2000(data, check_size)
    return _read_netpbm(data, check_size)


def _read_png(data: bytes, check_size: CheckSize) -> Shown:
    from imagecodecs import png_decode

    from nonlocal_lens.analysis.images import upright

    check_size(int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"))
    values = png_decode(without_metadata(data, ".png"))
    found = shown(values if values.ndim == 3 else values[..., None])
    with Image.open(io.BytesIO(without_texts(data)), formats=["PNG"]) as held:
        turned = upright(Image.fromarray(found.image), held)
    return Shown(np.array(turned), found.note)


def _read_jpeg_2000(data: bytes, check_size: CheckSize) -> Shown | None:
    """Read what has more than 8 bits: Pillow does not say how many."""
    at = data.find(b"\xff\x4f\xff\x51")
    if at < 0 or len(data) < at + 43 or data[at + 42] & 0x7F < 8:
        return None
    from imagecodecs import jpeg2k_decode

    bits, signed = (data[at + 42] & 0x7F) + 1, data[at + 42] > 0x7F
    right, down, left, up = (
        int.from_bytes(data[at + start : at + start + 4], "big") for start in (8, 12, 16, 20)
    )
    check_size(right - left, down - up)
    values = jpeg2k_decode(data)
    told = Range(0, 2**bits - 1, f"the file says that its values have {bits} bits")
    return shown(
        values if values.ndim == 3 else values[..., None],
        told=None if signed or bits == 16 else told,
    )


def _read_netpbm(data: bytes, check_size: CheckSize) -> Shown | None:
    """Read PGM and PPM of 16 bits, of which Pillow keeps 8 where they have colors."""
    head = NETPBM.match(data[:HEAD_BYTES])
    if head is None or not 255 < int(head[4]) <= 65535:
        return None
    width, height, most = int(head[2]), int(head[3]), int(head[4])
    check_size(width, height)
    channels = 1 if head[1] == b"P5" else 3
    count = width * height * channels
    if len(data) - head.end() < 2 * count:
        raise ValueError("its pixels end before the picture does")
    values = np.frombuffer(data, ">u2", count, head.end()).astype(np.uint16)
    told = Range(0, most, f"the file says that {most} is its largest value")
    return shown(values.reshape(height, width, channels), told=told if most < 65535 else None)


def _read_tiff(data: bytes, check_size: CheckSize, *, whatever: bool) -> Shown | None:
    from tifffile import TiffFile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)  # errors are told as sentences
    with TiffFile(io.BytesIO(data)) as file:
        page, pages = _first_page(file)
        check_size(page.imagewidth, page.imagelength)
        if page.nbytes > MOST_PICTURE_BYTES:
            raise NotShownError(
                f"the image takes {page.nbytes / 1e6:.0f} MB when it is unpacked; at most "
                f"{MOST_PICTURE_BYTES // 1_000_000} are possible: save one slice, or fewer bands"
            )
        colors = int(page.photometric)
        bits = np.atleast_1d(page.bitspersample)
        plain = (bits <= 8).all() and set(np.atleast_1d(page.sampleformat)) == {1}
        extra = [int(one) for one in page.extrasamples]
        unknown = len(extra) > 1 or any(one not in ALPHAS for one in extra)
        no_data = _no_data(page)
        odd = unknown or no_data is not None or pages > 1 or colors == PALETTE
        if plain and not whatever and (not odd or colors in (YCBCR, CIELAB, MASK)):
            return None
        if colors not in READ:
            raise NotShownError(
                f"the image's colors are of kind {page.photometric.name}, which is not read: save "
                "it as RGB"
            )
        values, more = _samples(page, colors, extra)
        if pages > 1:
            more = "; ".join([f"the first of its {pages} pages is shown"] + ([more] * bool(more)))
        found = _colored(page, values, colors, no_data, more)
        orientation = page.tags.get(ORIENTATION_TAG)
        turn = orientation.value if orientation is not None else 1
    return Shown(_turned(found.image, turn), found.note)


ORIENTATION_TAG, NO_DATA_TAG = 274, 42113
MOST_PAGES = 1000


def _first_page(file: Any) -> tuple[Any, int]:
    """Return the first page that is no small copy of another, and how many there are like it."""
    whole = []
    for number in range(MOST_PAGES):
        try:
            page = file.pages[number]
        except IndexError:
            break
        if not getattr(page, "is_reduced", False):
            whole.append(page)
    first = whole[0] if whole else file.pages.first
    return first, max(1, len(whole))


def _samples(
    page: Any, colors: int, extra: list[int]
) -> tuple[Num[np.ndarray, "height width channels"], str]:
    """Decode a page; return its colors, and alpha if it has any, and what was left out."""
    values = page.asarray()
    axes = page.axes
    if "S" in axes:
        values = np.moveaxis(values, axes.index("S"), -1)
        axes = axes.replace("S", "")
    else:
        values = values[..., None]
    values = values.reshape(-1, *values.shape[-3:])[0]  # the first slice of a volume
    slices = "the first slice of a volume is shown" if axes != "YX" else ""
    base = {RGB: 3, YCBCR: 3, CMYK: 4}.get(colors, 1)
    alpha = [base + number for number, kind in enumerate(extra) if kind in ALPHAS][:1]
    dropped = values.shape[2] - base - len(alpha)
    if base > values.shape[2]:
        raise NotShownError(f"the image has {values.shape[2]} channels of {base}")
    if values.dtype == bool:
        values = values.astype(np.uint8) * 255
    more = slices
    if dropped > 0:
        of = "band 1" if base == 1 else f"bands 1 to {base}"
        more = f"{of} of {values.shape[2]} shown" + (f"; {slices}" if slices else "")
    if alpha and extra[alpha[0] - base] == 1:  # multiplied in: laid over white it adds what is left
        color, share = values[..., :base].astype(np.float64), values[..., alpha[0]]
        whole = _whole(values.dtype)
        part = np.maximum(share.astype(np.float64) / whole, 1e-9)[..., None]
        color = np.minimum(color / part, whole).astype(values.dtype)
        return np.concatenate([color, share[..., None]], axis=2), more
    return values[..., [*range(base), *alpha]], more


def _colored(
    page: Any,
    values: Num[np.ndarray, "height width channels"],
    colors: int,
    no_data: float | None,
    more: str,
) -> Shown:
    if colors == PALETTE:
        table = np.asarray(page.colormap).T.astype(np.float64)  # (entries, 3), 16 bits
        deep = table.max() > 255
        table = np.rint(table / (257 if deep else 1)).astype(np.uint8)
        image = table[np.minimum(values[..., 0], len(table) - 1)]
        words = "" if deep else "the palette holds 8-bit values where 16 bits belong"
        return Shown(image, "; ".join(one for one in (words, more) if one))
    bits = int(np.atleast_1d(page.bitspersample)[0])
    told = _told_range(page, values, bits)
    if colors == CMYK:
        scaled = shown(values[..., :3], told=told, more=more)
        chosen = told or range_of(values[..., :4])
        ink = np.clip((values[..., :4] - chosen.black) / (chosen.white - chosen.black), 0, 1)
        picture = Image.fromarray(np.rint(ink * 255).astype(np.uint8), "CMYK")
        return Shown(np.array(picture.convert("RGB")), scaled.note)
    plain = values.dtype == np.uint8 and bits == 8 and told is None
    return shown(
        values,
        full=255 if plain else None,
        told=told,
        inverted=colors == WHITE_IS_ZERO,
        no_data=no_data,
        more=more,
    )


def _told_range(page: Any, values: Num[np.ndarray, "..."], bits: int) -> Range | None:
    """Return the range that the tags of a page tell, if they do and the values lie in it."""
    held = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    top = float(held.max()) if held.size else 0.0
    for low_name, high_name in (
        ("SMinSampleValue", "SMaxSampleValue"),
        ("MinSampleValue", "MaxSampleValue"),
    ):
        high = page.tags.get(high_name)
        if high is None:
            continue
        low = page.tags.get(low_name)
        black = float(np.min(low.value)) if low is not None else 0.0
        white = float(np.max(high.value))
        if np.isfinite([black, white]).all() and black < white and top <= white:
            return Range(black, white, f"the file's tags {low_name} and {high_name} say so")
    if values.dtype.kind == "u" and bits not in (8, 16, 32, 64):
        return Range(0, 2**bits - 1, f"the file says that its values have {bits} bits")
    return None


def _no_data(page: Any) -> float | None:
    tag = page.tags.get(NO_DATA_TAG)
    try:
        return None if tag is None else float(str(tag.value).strip().strip("\0"))
    except ValueError:
        return None


def _turned(
    image: UInt8[np.ndarray, "height width 3"], orientation: int
) -> UInt8[np.ndarray, "rows cols 3"]:
    from nonlocal_lens.analysis.images import TURNS

    turn = TURNS.get(orientation)
    return image if turn is None else np.array(Image.fromarray(image).transpose(turn))
