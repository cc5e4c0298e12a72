"""Crowns of trees: sprites drawn once, the same for all seeds."""

from functools import cache

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from nonlocal_lens.streets import textures

SIDE = 384
"""Side of a crown's sprite in texels."""

CROWNS = 8
"""How many crowns of a kind there are."""


Crown = UInt8[np.ndarray, "side side 3"]
"""A crown that fills a square: its brightness, 255 where there is leaf or wood, 255 where one would
say "tree"."""


@cache
def leafy(index: int) -> Crown:
    """Return a crown in leaf: ragged clumps that are light above and dark below."""
    rng = np.random.default_rng([10, index])
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE
    inside = np.zeros((SIDE, SIDE))  # 0 on the rim of a clump, 1 in its middle
    glow = np.zeros((SIDE, SIDE))
    slender = rng.uniform(0.75, 1.0)
    for depth in np.sort(rng.uniform(0, 1, 46)):  # clumps behind first
        angle = rng.uniform(0, 2 * np.pi)
        spread = 0.36 * (1 - 0.5 * depth) * np.sqrt(rng.uniform(0.1, 1))
        cx, cy = 0.5 + slender * spread * np.cos(angle), 0.5 + 0.85 * spread * np.sin(angle)
        radius = rng.uniform(0.06, 0.14)
        part = around(cx, cy, radius)
        x, y = columns[part], rows[part]
        here = np.clip(1 - np.hypot(x - cx, y - cy) / radius, 0, 1)
        light = 0.55 + 0.45 * depth - 0.55 * (y - cy) / radius - 0.5 * (y - 0.5)
        glow[part] = np.where(here > 0.12, light, glow[part])
        inside[part] = np.maximum(inside[part], here)
    rough = 0.1 * tiled(textures.noise(2, 64)) + 0.06 * tiled(textures.noise(3, 16))
    ragged = np.where(inside > 0.04, inside + rough, 0)
    solid = ((ragged > 0.2) * 255).astype(np.uint8)
    tone = 128 * (tiled(textures.leaves()) / 128) * (0.55 + 0.55 * glow)
    outline = cv2.morphologyEx(solid, cv2.MORPH_CLOSE, disk(9))
    return filling(np.clip(tone, 0, 255).astype(np.uint8), solid, outline)


def around(x: float, y: float, radius: float) -> tuple[slice, slice]:
    """Return the rows and columns of a crown's texels in which a disk lies, in shares of a side."""
    first, last = (
        [int(np.clip(SIDE * (center + side * radius) + side, 0, SIDE)) for center in (y, x)]
        for side in (-1, 1)
    )
    return slice(first[0], last[0] + 1), slice(first[1], last[1] + 1)


@cache
def bare(index: int) -> Crown:
    """Return a crown in winter: branches that fork down to a haze of twigs."""
    rng = np.random.default_rng([11, index])
    wood = np.zeros((SIDE, SIDE), np.uint8)
    fork = rng.uniform(0.4, 0.65)

    def grow(x: float, y: float, angle: float, length: float, width: float) -> None:
        # plain numbers: with numpy's the thousands of twigs take twice as long
        end_x, end_y = x + length * float(np.cos(angle)), y - length * float(np.sin(angle))
        start, end = [(round(16 * u), round(16 * v)) for u, v in ((x, y), (end_x, end_y))]
        thickness = max(1, round(width))
        strength = 255 * min(1.0, 0.55 + 0.5 * width)
        cv2.line(wood, start, end, strength, thickness, cv2.LINE_AA, 4)
        if length < 7:
            return
        leader = angle + rng.normal(0, 0.16) + 0.1 * (np.pi / 2 - angle)
        grow(end_x, end_y, leader, length * rng.uniform(0.72, 0.9), width * 0.7)
        for side in (-1, 1):
            if rng.random() < 0.85:
                turn = side * fork * rng.uniform(0.7, 1.5)
                grow(end_x, end_y, angle + turn, length * rng.uniform(0.45, 0.85), width * 0.55)

    grow(SIDE / 2, SIDE - 1, np.pi / 2, SIDE * 0.155, 8)
    solid = ((wood > 100) * 255).astype(np.uint8)
    # Closing fills the gaps between twigs and leaves the trunk as thin as it is.
    closed = cv2.morphologyEx(solid, cv2.MORPH_CLOSE, disk(27))
    outline = cv2.max(closed, cv2.dilate(solid, disk(3)))
    tone = np.clip(128 + 18 * tiled(textures.noise(2, 16)), 0, 255).astype(np.uint8)
    return filling(tone, solid, outline)


def disk(side: int) -> UInt8[np.ndarray, "side side"]:
    """Return a round structuring element."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def tiled(tile: np.ndarray) -> Float[np.ndarray, "side side"]:
    """Return a square of a wrapping tile in the size of a crown."""
    return np.tile(tile, (2, 2))[:SIDE, :SIDE].astype(np.float32)


def filling(
    brightness: UInt8[np.ndarray, "side side"],
    solid: UInt8[np.ndarray, "side side"],
    outline: UInt8[np.ndarray, "side side"],
) -> Crown:
    """Return a crown stretched to fill its square, whatever it left empty."""
    x, y, width, height = cv2.boundingRect(solid)
    crown = cv2.merge([brightness, solid, outline])
    return cv2.resize(crown[y : y + height, x : x + width], (SIDE, SIDE))


KINDS = {"leafy": leafy, "bare": bare}


@cache
def crown(kind: str, index: int, halvings: int) -> Crown:
    """Return a crown of one of the `KINDS`, `halvings` times halved in size."""
    if halvings == 0:
        return KINDS[kind](index)
    finer = crown(kind, index, halvings - 1)
    return cv2.resize(finer, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
