"""Tiles of noise and masonry that scenes are textured with: drawn once, the same for all seeds."""

from functools import cache

import cv2
import numpy as np
from jaxtyping import Float, UInt8

TILE = 256
"""Side of a tile in texels; tiles wrap around."""

TEXELS_PER_METER = 32


@cache
def noise(octaves: int, coarsest: int) -> Float[np.ndarray, "tile tile"]:
    """Return wrapping noise with mean 0 and standard deviation 1.

    `coarsest` is the number of blobs along a side; every further octave has twice as many, each
    weighing 0.6 of the one before.
    """
    rng = np.random.default_rng([octaves, coarsest])
    total = np.zeros((TILE, TILE), np.float32)
    for octave in range(octaves):
        cells = min(coarsest * 2**octave, TILE)
        grid = np.pad(rng.standard_normal((cells, cells)).astype(np.float32), 2, mode="wrap")
        side = TILE // cells
        smooth = cv2.resize(grid, None, fx=side, fy=side, interpolation=cv2.INTER_CUBIC)
        total += 0.6**octave * smooth[2 * side : 2 * side + TILE, 2 * side : 2 * side + TILE]
    waves: np.ndarray = (total - total.mean()) / total.std()
    return waves


@cache
def brick() -> UInt8[np.ndarray, "tile tile"]:
    """Return courses of bricks as brightness around 128."""
    tile = masonry(height=4, width=8, joint=150, tone=124, spread=12)
    return _bytes(tile + 5 * noise(3, 4))


@cache
def stone() -> UInt8[np.ndarray, "tile tile"]:
    """Return blocks of stone as brightness around 128."""
    tile = masonry(height=16, width=32, joint=104, tone=130, spread=9)
    return _bytes(tile + 6 * noise(3, 8))


def masonry(
    *, height: int, width: int, joint: float, tone: float, spread: float
) -> Float[np.ndarray, "tile tile"]:
    """Return courses of blocks, each course set off by half a block, with joints of one texel."""
    rng = np.random.default_rng([height, width])
    blocks = rng.normal(tone, spread, (TILE // height, TILE // width))
    tile = blocks.repeat(height, axis=0).repeat(width, axis=1).astype(np.float32)
    tile[::height] = joint
    tile[:, ::width] = joint
    odd = (np.arange(TILE) // height) % 2 == 1
    tile[odd] = np.roll(tile[odd], width // 2, axis=1)
    return tile


@cache
def plaster() -> UInt8[np.ndarray, "tile tile"]:
    """Return weathered plaster or concrete as brightness around 128."""
    return _bytes(128 + 7 * noise(4, 4) + 3 * noise(1, 128))


@cache
def leaves() -> UInt8[np.ndarray, "tile tile"]:
    """Return foliage as brightness around 128: clumps with dark gaps."""
    clumps = 26 * noise(2, 16) + 22 * noise(2, 64)
    return _bytes(128 + clumps)


@cache
def boards() -> UInt8[np.ndarray, "tile tile"]:
    """Return upright boards of a fence as brightness around 128."""
    rng = np.random.default_rng(3)
    tile = np.repeat(rng.normal(128, 14, TILE // 4), 4)[None].repeat(TILE, axis=0)
    tile[:, ::4] -= 50
    return _bytes(tile + 5 * noise(3, 8))


def _bytes(brightness: Float[np.ndarray, "tile tile"]) -> UInt8[np.ndarray, "tile tile"]:
    tile: np.ndarray = brightness.clip(0, 255).astype(np.uint8)
    return tile
