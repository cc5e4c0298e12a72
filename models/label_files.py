"""Pictures whose pixels are labels: the values as the file holds them, whatever data set it is."""

import io
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Shaped
from PIL import Image, UnidentifiedImageError

from nonlocal_lens.models.limits import (
    MOST_LABEL_VALUES,
    MOST_PICTURE_BYTES,
    MOST_PIXELS,
    error_words,
    shortened,
)
from nonlocal_lens.models.local_files import read_regular

FORMATS = ("PNG", "BMP", "DIB", "GIF", "PPM", "TIFF", "WEBP", "JPEG", "TGA", "QOI")
# fmt: off
SUFFIXES = (
    ".png", ".tif", ".tiff", ".bmp", ".gif", ".pgm", ".ppm", ".webp", ".tga", ".qoi", ".jpg",
    ".jpeg",
)
# fmt: on
"""What label files may end in, the first that is there is taken."""

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class LabelFile(NamedTuple):
    """The labels of a picture's pixels."""

    values: Int[np.ndarray, "height width"]  # of colors: red * 65536 + green * 256 + blue
    colored: bool
    largest: int  # that the file's samples could hold


def read_label_file(source: Path | bytes, name: str | None = None) -> LabelFile:
    """Return the values of a label image: indices of a palette, gray values of any depth, colors.

    Args:
        source: The file or its bytes.
        name: What a sentence calls it; its path, or "the labels", if None.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no image, damaged, too large, or holds no labels: it was compressed with
            losses, has values that are no whole numbers, or more of them than classes.
    """
    if isinstance(source, Path):
        name = f"the labels {shortened(str(source), 150)}" if name is None else name
        source = read_regular(source, MOST_PICTURE_BYTES, "label file")
    name = name or "the labels"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's advice is not for users
            found = _decoded(source)
    except _NoLabelsError as error:
        raise ValueError(f"{name} {error}") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} are no image that can be read") from error
    except MemoryError:
        raise
    except Exception as error:  # of a damaged file, decoders raise whatever went wrong in it
        words = shortened(error_words(error), 120)
        raise ValueError(f"{name} are no image that can be read: {words}") from error
    return found


class _NoLabelsError(ValueError):
    """Why a picture holds no labels: the end of a sentence that begins with its name."""


def _decoded(data: bytes) -> LabelFile:
    if data.startswith(TIFF_STARTS):
        return _labels_of(_tiff(data))
    with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
        _check_size(picture.width, picture.height)
        if picture.format == "JPEG" or (
            picture.format == "WEBP" and b"VP8L" not in data[:64] and b"VP8 " in data[:4096]
        ):
            raise _NoLabelsError(
                f"are a {picture.format} picture, which does not keep values: they must be a PNG "
                "or another format without losses"
            )
        if picture.mode in ("P", "L", "1", "I", "F") or picture.mode.startswith("I;16"):
            values = np.asarray(picture)
            if picture.mode == "1":
                values = values.astype(np.uint8)
            if data[:4] == b"\x89PNG" and picture.mode == "L" and data[24] < 8:
                values = values // (255 // (2 ** data[24] - 1))  # Pillow spreads them over 8 bits
            return _labels_of(values)
        if data[:4] == b"\x89PNG" and data[24] == 16:
            from imagecodecs import png_decode  # Pillow keeps 8 of the 16 bits

            return _labels_of(png_decode(data))
        kept = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
        return _labels_of(np.asarray(kept))


def _tiff(data: bytes) -> Shaped[np.ndarray, "..."]:
    from tifffile import TiffFile

    with TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        _check_size(page.imagewidth, page.imagelength)
        values = page.asarray()
        if "S" in page.axes:
            values = np.moveaxis(values, page.axes.index("S"), -1)
    return values.astype(np.uint8) if values.dtype == bool else values


def _labels_of(values: Shaped[np.ndarray, "..."]) -> LabelFile:
    if values.ndim == 3 and values.shape[2] in (2, 4):
        if (values[..., -1] != np.iinfo(values.dtype).max).any():
            raise _NoLabelsError("are transparent in part: a label must be a value or a color")
        values = values[..., :-1]
    if values.ndim == 3 and (values[..., :1] == values).all():
        values = values[..., 0]  # gray, saved as if it had colors
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3):
        raise _NoLabelsError(f"must be one picture of values or colors, got {values.shape}")
    if values.dtype.kind == "f":
        if not np.isfinite(values).all() or (values != np.floor(values)).any():
            raise _NoLabelsError("hold values that are no whole numbers")
        values = values.astype(np.int64)
    if values.dtype.kind not in "iu":
        raise _NoLabelsError(f"hold values of type {values.dtype}")
    if values.ndim == 2:
        if values.size and not -(2**31) <= int(values.min()) <= int(values.max()) < 2**31:
            raise _NoLabelsError("hold values beyond 2147483647")
        largest = int(np.iinfo(values.dtype).max)
        found = LabelFile(values.astype(np.int32), False, largest)
    else:
        if values.dtype.itemsize > 1:
            raise _NoLabelsError(f"hold colors of {values.dtype.itemsize * 8} bits, not of 8")
        red, green, blue = (values[..., channel].astype(np.int32) for channel in range(3))
        found = LabelFile(red * 65536 + green * 256 + blue, True, 0xFFFFFF)
    kinds = len(np.unique(found.values))
    if kinds > MOST_LABEL_VALUES:
        raise _NoLabelsError(
            f"hold {kinds} {'colors' if found.colored else 'values'}, more than labels have: they "
            "are a photograph, or were smoothed or saved with losses"
        )
    return found


def _check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise _NoLabelsError(f"have {width} x {height} pixels, more than any picture that is read")
