"""Upright rectangles, along and across a street."""

import numpy as np
from jaxtyping import Float


def upright(x: float, near: float, end: float, low: float, high: float) -> Float[np.ndarray, "4 3"]:
    """Return an upright rectangle along the street."""
    return np.array([(x, low, near), (x, low, end), (x, high, end), (x, high, near)], float)


def across(x0: float, x1: float, s: float, low: float, high: float) -> Float[np.ndarray, "4 3"]:
    """Return an upright rectangle across the street."""
    return np.array([(x0, low, s), (x1, low, s), (x1, high, s), (x0, high, s)], float)


def uprights(
    x: float, spans: Float[np.ndarray, "rectangles 4"]
) -> Float[np.ndarray, "rectangles 4 3"]:
    """Return upright rectangles along the street from their (near, end, low, high)."""
    corners = np.empty((len(spans), 4, 3))
    corners[..., 0] = x
    corners[..., 1] = spans[:, (2, 2, 3, 3)]
    corners[..., 2] = spans[:, (0, 1, 1, 0)]
    return corners
