"""Any picture a user may bring -> an RGB array, or one sentence that says why not."""

import io
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from nonlocal_lens.analysis import deep_images
from nonlocal_lens.analysis.deep_images import NotShownError
from nonlocal_lens.analysis.file_kinds import HEAD_BYTES, UNREADABLE, sniffed
from nonlocal_lens.analysis.picture_bytes import JPEG_SCAN, without_metadata, without_texts
from nonlocal_lens.models.limits import (
    LONGEST_NAME,
    MOST_PICTURE_BYTES,
    MOST_PIXELS,
    MOST_SCANS,
    error_words,
    shortened,
)
from nonlocal_lens.models.local_files import read_regular

ImageSource = str | Path | bytes | Image.Image | Shaped[np.ndarray, "..."] | Shaped[Tensor, "..."]

MAX_PIXELS = MOST_PIXELS
MIN_SIDE = 8
MAX_ASPECT = 64

FORMATS = (
    "PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA",
    "ICO", "PCX", "SGI", "QOI", "DDS", "PSD",
)  # fmt: skip
"""What Pillow may open: none of these runs a program or holds the name of another file."""

SCALED = ("PPM", "JPEG2000")
"""Formats that say how deep their values are: what Pillow opens of them it scales to 16 bits."""

ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Value of the camera's orientation -> what brings such a picture upright."""


class ReadImage(NamedTuple):
    """A picture, and what a user should know of how it was read."""

    image: UInt8[np.ndarray, "height width 3"]
    note: str  # a sentence; empty where nothing had to be decided


def read_image(source: ImageSource) -> UInt8[np.ndarray, "height width 3"]:
    """Return an image as 8-bit RGB, upright.

    Takes a path, the bytes of a file, a PIL image, a (H, W, 3) or (H, W) uint8 array, or a
    (3, H, W) tensor (uint8, or floats in [0, 1]). Gray, palette, CMYK and deep images are
    converted (`read_with_note` says how), transparency is laid over white, the camera's orientation
    is applied, and of an animation the first frame is taken. Metadata that is damaged is ignored.

    Raises:
        FileNotFoundError: The path does not exist.
        OSError: The file cannot be read.
        ValueError: This is not an image, it is damaged, or its size is out of range.
    """
    return read_with_note(source).image


def read_with_note(source: ImageSource) -> ReadImage:
    """Do what `read_image` does and say how values deeper than 8 bits were read.

    Raises:
        FileNotFoundError: The path does not exist.
        OSError: The file cannot be read.
        ValueError: This is not an image, it is damaged, or its size is out of range.
    """
    if isinstance(source, (str, Path)):
        return _decode(read_file(Path(source)), shortened(Path(source).name, LONGEST_NAME))
    if isinstance(source, bytes):
        return _decode(source, "the file")
    if isinstance(source, Image.Image):
        check_size(source.width, source.height)
        return _to_rgb(source)
    image = _from_tensor(source) if isinstance(source, Tensor) else _from_array(source)
    return ReadImage(image, "")


def read_file(path: Path) -> bytes:
    """Return the bytes of a picture's file.

    Raises:
        FileNotFoundError: There is no such file, or it is none: a folder, a pipe, a device.
        OSError: It cannot be read.
        ValueError: It is larger than any picture.
    """
    return read_regular(path, MOST_PICTURE_BYTES, "image file")


def check_size(width: int, height: int) -> None:
    """Raise ValueError unless an image of this size can be shown and analyzed."""
    size = f"the image is {width} x {height} pixels"
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"{size}; at most {MAX_PIXELS // 1_000_000} megapixels are possible: scale it down"
        )
    if min(width, height) < MIN_SIDE:
        raise ValueError(f"{size}; both sides must be at least {MIN_SIDE} pixels")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ValueError(
            f"{size}; the long side may be at most {MAX_ASPECT} times the short one: crop it"
        )


def _decode(data: bytes, name: str) -> ReadImage:
    if not data:
        raise ValueError(f"{name} is empty (0 bytes)")
    suffix = sniffed(data[:HEAD_BYTES])
    if suffix in UNREADABLE:
        raise ValueError(f"{name} is not an image in a known format; {UNREADABLE[suffix]}")
    try:
        with warnings.catch_warnings():
            # our own limit is stricter, and Pillow's advice is not for users
            warnings.simplefilter("ignore")
            return _decoded(data, suffix)
    except UnidentifiedImageError as error:
        raise ValueError(
            f"{name} is not an image in a known format; PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF and "
            "JPEG 2000 work"
        ) from error
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{name} has more than {MAX_PIXELS // 1_000_000} megapixels: scale it down"
        ) from error
    except NotShownError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # decoders raise whatever went wrong in them on damaged files
        words = error_words(error)
        raise ValueError(shortened(f"{name} is damaged or incomplete: {words}")) from error


def _decoded(data: bytes, suffix: str) -> ReadImage:
    """Decode a file; once more without its metadata if that fails with them."""
    _check_scans(data, suffix)
    deep = deep_images.read(data, suffix, checked_size)
    if deep is not None:
        return ReadImage(*deep)
    if suffix == ".png":
        data = without_texts(data)
    try:
        return _opened(data)
    except (Image.DecompressionBombError, NotShownError, MemoryError):
        raise
    except Exception as error:  # also what Pillow cannot identify for its metadata
        plain = without_metadata(data, suffix)
        if plain == data:
            if suffix == ".tif":
                deep = deep_images.read(data, suffix, checked_size, whatever=True)
                if deep is not None:
                    return ReadImage(*deep)
            raise
        try:
            return _opened(plain)
        except NotShownError:
            raise
        except Exception:
            raise error from None


def _check_scans(data: bytes, suffix: str) -> None:
    """Raise NotShownError where a JPEG has more scans than any that is to be looked at."""
    if suffix == ".jpg" and (scans := data.count(JPEG_SCAN)) > MOST_SCANS:
        raise NotShownError(
            f"the image is a JPEG of {scans} scans; at most {MOST_SCANS} are read: save it anew"
        )


def checked_size(width: int, height: int) -> None:
    """Do what `check_size` does, with an error that is passed on as it is."""
    try:
        check_size(width, height)
    except ValueError as error:
        raise NotShownError(str(error)) from error


def _opened(data: bytes) -> ReadImage:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        checked_size(image.width, image.height)
        return _to_rgb(image)


def opened(data: bytes) -> Image.Image:
    """Open the bytes of a picture or an animation by Pillow, without its metadata if need be.

    Raises:
        UnidentifiedImageError: It is no picture that Pillow may open.
        ValueError: Its size is out of range.
        Exception: Whatever goes wrong in a damaged one.
    """
    suffix = sniffed(data[:HEAD_BYTES])
    _check_scans(data, suffix)
    if suffix == ".png":
        data = without_texts(data)
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, MemoryError):
        raise
    except Exception:
        plain = without_metadata(data, suffix)
        if plain == data:
            raise
        image = Image.open(io.BytesIO(plain), formats=FORMATS)
    check_size(image.width, image.height)
    return image


def upright(image: Image.Image, told_by: Image.Image | None = None) -> Image.Image:
    """Return a picture as its camera was held; as it is where that is not said or is damaged.

    Args:
        image: The picture.
        told_by: Whose metadata tells that; its own if None.
    """
    try:
        turn = TURNS.get((told_by or image).getexif().get(ORIENTATION, 1))
    except Exception:  # of damaged metadata, Pillow raises whatever went wrong in it
        turn = None
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> ReadImage:
    scaled = image.format in SCALED
    image = upright(image)
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        gray = np.asarray(image)
        shown = deep_images.shown(gray[..., None], full=65535 if scaled else None)
        return ReadImage(shown.image, shown.note)
    if not _is_transparency(image.info.get("transparency")):
        image.info.pop("transparency", None)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return ReadImage(np.array(image.convert("RGB")), "")


def _is_transparency(value: object) -> bool:
    """Return whether this is what a picture says of its transparency, not a text of that name."""
    if isinstance(value, tuple):
        return all(isinstance(one, int) for one in value)
    return isinstance(value, bytes | int)


def _from_array(array: Shaped[np.ndarray, "..."]) -> UInt8[np.ndarray, "height width 3"]:
    is_gray, is_rgb = array.ndim == 2, array.ndim == 3 and array.shape[2] == 3
    if array.dtype != np.uint8 or not (is_gray or is_rgb):
        raise ValueError(
            "an image array must be uint8 of shape (height, width, 3) or (height, width), "
            f"got {array.dtype} of shape {array.shape}"
        )
    check_size(array.shape[1], array.shape[0])
    return np.repeat(array[..., None], 3, axis=2) if is_gray else array


def _from_tensor(tensor: Shaped[Tensor, "..."]) -> UInt8[np.ndarray, "height width 3"]:
    if tensor.ndim != 3 or tensor.shape[0] != 3:
        raise ValueError(
            f"an image tensor must have shape (3, height, width), got {tuple(tensor.shape)}"
        )
    if tensor.is_floating_point():
        low, high = tensor.min().item(), tensor.max().item()
        if not 0 <= low <= high <= 1:
            raise ValueError(
                f"a float image must hold values in [0, 1], got {low:.3g} to {high:.3g}"
            )
        tensor = (tensor * 255).round().to(torch.uint8)
    return _from_array(tensor.detach().permute(1, 2, 0).cpu().numpy())
