"""Any picture a user may bring -> an RGB array, or one sentence that says why not."""

import io
import warnings
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

ImageSource = str | Path | bytes | Image.Image | Shaped[np.ndarray, "..."] | Shaped[Tensor, "..."]

MAX_PIXELS = 40_000_000
MIN_SIDE = 8
MAX_ASPECT = 64


def read_image(source: ImageSource) -> UInt8[np.ndarray, "height width 3"]:
    """Return an image as 8-bit RGB, upright.

    Takes a path, the bytes of a file, a PIL image, a (H, W, 3) or (H, W) uint8 array, or a
    (3, H, W) tensor (uint8, or floats in [0, 1]). Gray, palette, CMYK and 16-bit images are
    converted, transparency is laid over white, the camera's orientation is applied, and of an
    animation the first frame is taken.

    Raises:
        FileNotFoundError: The path does not exist.
        ValueError: This is not an image, it is damaged, or its size is out of range.
    """
    if isinstance(source, (str, Path)):
        path = Path(source)
        if not path.is_file():
            raise FileNotFoundError(f"there is no image file {path}")
        return _decode(path.read_bytes(), path.name)
    if isinstance(source, bytes):
        return _decode(source, "the file")
    if isinstance(source, Image.Image):
        check_size(source.width, source.height)
        return _to_rgb(source)
    if isinstance(source, Tensor):
        return _from_tensor(source)
    return _from_array(source)


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


def _decode(data: bytes, name: str) -> UInt8[np.ndarray, "height width 3"]:
    if not data:
        raise ValueError(f"{name} is empty (0 bytes)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # our own limit is stricter, and Pillow's advice is not for users
            with Image.open(io.BytesIO(data)) as image:
                check_size(image.width, image.height)
                return _to_rgb(image)
    except UnidentifiedImageError as error:
        raise ValueError(
            f"{name} is not an image in a known format; PNG, JPEG, WebP, GIF, BMP and TIFF work"
        ) from error
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{name} has more than {MAX_PIXELS // 1_000_000} megapixels: scale it down"
        ) from error
    except (
        OSError,
        SyntaxError,
        EOFError,
        OverflowError,
    ) as error:  # what Pillow raises on damaged files
        raise ValueError(f"{name} is damaged or incomplete: {error}") from error


def _to_rgb(image: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        gray = np.asarray(image)
        return np.repeat(_to_8_bit(gray)[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))


def _to_8_bit(gray: Shaped[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    """Scale deep gray values by the smallest depth that holds them: 8 bits, 16 bits, [0, 1]."""
    values = gray.astype(np.float64)
    if not np.isfinite(values).all() or values.min() < 0:
        raise ValueError(
            "the image holds values below 0, NaN or infinite; they must be finite and at least 0"
        )
    if gray.dtype.kind == "f":
        full = 1.0 if values.max() <= 1 else 255.0
    else:
        full = 255.0 if gray.dtype == np.int32 and values.max() <= 255 else 65535.0
    return np.rint(values / full * 255).clip(0, 255).astype(np.uint8)


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
