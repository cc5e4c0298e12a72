"""The sky: a gradient with clouds."""

import cv2
import numpy as np
from jaxtyping import UInt8

from nonlocal_lens.streets.camera import Camera
from nonlocal_lens.streets.classes import SKY
from nonlocal_lens.streets.light import Light
from nonlocal_lens.streets.textures import TILE, noise


def paint_sky(camera: Camera, light: Light) -> UInt8[np.ndarray, "rows width 4"]:
    """Return the sky down to below the horizon, as colors and labels."""
    height, width = camera.size_hw
    rows = min(height, int(camera.horizon) + height // 8)
    up = np.clip(1 - (np.arange(rows) + 0.5) / max(camera.horizon, 1), 0, 1) ** 0.8
    tile = np.roll(noise(5, 4), light.drift, axis=(0, 1))[: TILE * 5 // 8]
    clouds = cv2.resize(tile, (width, rows), interpolation=cv2.INTER_LINEAR)
    if light.weather == "sunny":  # white clouds on blue: only the upper half of the noise shows
        white = np.clip(clouds * np.float32(0.66 * light.clouds), 0, 1)
    else:
        brightness = 1 + np.float32(0.11 * light.clouds) * clouds
    planes = []
    for low, top in zip(light.sky_low, light.sky_top, strict=True):
        gradient = (low + (top - low) * up[:, None]).astype(np.float32)
        if light.weather == "sunny":
            plane = gradient + (252 - gradient) * white
        else:
            plane = gradient * brightness
        planes.append(np.minimum(plane, 255).astype(np.uint8))
    return cv2.merge([*planes, np.full((rows, width), SKY, np.uint8)])
