"""What a camera does to a picture: exposure, blur, vignetting, noise, compression."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import UInt8

from nonlocal_lens.streets.dice import Dice

Image = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class Lens:
    """One camera's faults."""

    gains: tuple[float, float, float]  # exposure and white balance
    gamma: float
    black: float  # veiling light, 0 to 255
    blur: float  # pixels, at a height of 360
    vignetting: float  # darkening of the corners, 0 to 1
    noise: float  # standard deviation, 0 to 255
    quality: int  # of JPEG, 1 to 100
    grain: tuple[int, int]  # where in the noise a picture begins, 0 to `REPEAT`


def random_lens(dice: Dice) -> Lens:
    """Return a cheap camera of 2007 with automatic exposure."""
    exposure, warmth = dice.between(1.0, 1.3), dice.between(-0.04, 0.04)
    return Lens(
        gains=(exposure * (1 + warmth), exposure, exposure * (1 - warmth)),
        gamma=dice.between(0.9, 1.3),
        black=dice.between(0, 14),
        blur=dice.between(0.0, 0.65),
        vignetting=dice.between(0.0, 0.25),
        noise=dice.between(1.0, 5.0),
        quality=dice.whole(70, 96),
        grain=(dice.whole(0, REPEAT - 1), dice.whole(0, REPEAT - 1)),
    )


def photograph(image: Image, lens: Lens) -> Image:
    """Return the picture that a lens makes of a scene."""
    height, width = image.shape[:2]
    image = cv2.LUT(image, tone_curves(lens))
    blur = lens.blur * height / 360
    if blur > 0.2:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    image = cv2.multiply(image, vignette(height, width, round(lens.vignetting * 20)), scale=1 / 255)
    grain = film(height, width, lens.grain)
    weight = lens.noise / GRAIN
    image = cv2.addWeighted(image, 1, grain, weight, -128 * weight)
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, lens.quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB))


def tone_curves(lens: Lens) -> UInt8[np.ndarray, "1 256 3"]:
    """Return the curve of each channel."""
    level = np.linspace(0, 1, 256)[:, None] * np.array(lens.gains)
    curve = lens.black + (255 - lens.black) * np.clip(level, 0, 1) ** lens.gamma
    table: np.ndarray = np.rint(curve).clip(0, 255).astype(np.uint8)[None]
    return table


@lru_cache(maxsize=8)
def vignette(height: int, width: int, strength: int) -> UInt8[np.ndarray, "height width 3"]:
    """Return how much light reaches each pixel, 0 to 255; `strength` in twentieths."""
    y = (np.arange(height) + 0.5) / height * 2 - 1
    x = (np.arange(width) + 0.5) / width * 2 - 1
    light = 1 - strength / 40 * (y[:, None] ** 2 + x**2) ** 1.5 / 2
    return np.rint(255 * light).astype(np.uint8)[..., None].repeat(3, axis=2)


GRAIN = 24.0
"""Standard deviation of `film`."""


REPEAT = 512
"""Pixels after which the noise repeats."""


@lru_cache(maxsize=8)
def grains(height: int, width: int) -> UInt8[np.ndarray, "rows columns 3"]:
    """Return noise around 128, a little more in brightness than in color, larger than a picture."""
    rng = np.random.default_rng(20)
    brightness = rng.standard_normal((REPEAT, REPEAT, 1)) * 0.85
    color = rng.standard_normal((REPEAT, REPEAT, 3)) * 0.55
    noise = np.clip(128 + GRAIN * (brightness + color), 0, 255).astype(np.uint8)
    return np.pad(noise, ((0, height), (0, width), (0, 0)), mode="wrap")


def film(height: int, width: int, offset: tuple[int, int]) -> Image:
    """Return the piece of the noise that starts at `offset`, from 0 to `REPEAT`."""
    top, left = offset
    return grains(height, width)[top : top + height, left : left + width]
