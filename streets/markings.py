"""What is painted on a road, as the share of each pixel that is covered."""

import numpy as np
from jaxtyping import Float

from nonlocal_lens.streets.palette import Color
from nonlocal_lens.streets.plan import BAY, SIDES, RoadPlan

WHITE: Color = (205.0, 205.0, 200.0)
YELLOW: Color = (190.0, 165.0, 75.0)

Field = Float[np.ndarray, "rows width"]
"""A number for each pixel of the ground."""


def markings(
    plan: RoadPlan,
    x: Field,
    s: Float[np.ndarray, "rows 1"],
    edge: Field,
    across: Float[np.ndarray, "rows 1"],
    along: Float[np.ndarray, "rows 1"],
) -> tuple[Field, Field]:
    """Return how much of each pixel is painted white and yellow, 0 to 1."""
    half = plan.half_width
    # Side roads and crossings interrupt what runs along the street.
    free = np.ones_like(s)
    for road in plan.side_roads:
        free = free * (np.abs(s - road.s) > road.half_width + 1.0)
    if plan.zebra is not None:
        free = free * (np.abs(s - plan.zebra) > 2.2)

    white = np.zeros_like(x)
    yellow = np.zeros_like(x)
    if plan.center_line == "dashed":
        white = band(x, 0.06, across) * band(s % 6 - 1.5, 1.5, along) * free
    elif plan.center_line == "solid":
        white = band(np.abs(x) - 0.12, 0.06, across) * free
    elif plan.center_line == "hatched":
        rim = band(np.abs(x) - 0.6, 0.06, across) * band(s % 4 - 1.25, 1.25, along)
        stripes = band((s + x) % 2.5 - 0.2, 0.2, along) * (np.abs(x) < 0.55)
        white = np.maximum(rim, stripes) * free

    if plan.edge_lines == "white":
        white = np.maximum(white, band(edge + 0.35, 0.06, across) * free)
    elif plan.edge_lines != "none":
        yellow = band(edge + 0.28, 0.045, across)
        if plan.edge_lines == "double":
            yellow = np.maximum(yellow, band(edge + 0.5, 0.045, across))

    for side in plan.parking_bays:
        line = band(side * x - (half - 2.1), 0.05, across) * band(s % 1.2 - 0.3, 0.3, along)
        ends = band(s % 6 - 3, 0.06, along) * band(side * x - (half - 1.05), 1.05, across)
        white = np.maximum(white, np.maximum(line, ends) * free)

    for side in SIDES:
        if depth := plan.forecourt(side):
            bay = band(side * x - plan.line(side) + depth - 2.4, 2.4, across)
            white = np.maximum(white, bay * band(s % BAY - BAY / 2, 0.05, along))

    for road in plan.side_roads:
        mouth = band(np.abs(x) - half - 0.1, 0.1, across) * band(s - road.s, road.half_width, along)
        dashes = band(s % 1.1 - 0.3, 0.3, along) * (x * road.side > 0)
        white = np.maximum(white, mouth * dashes)
        if plan.box:
            inside = (np.abs(x) < half - 0.4) & (np.abs(s - road.s) < road.half_width)
            cross = np.maximum(
                band((x + s - road.s) % 1.8 - 0.9, 0.09, across + along),
                band((x - s + road.s) % 1.8 - 0.9, 0.09, across + along),
            )
            rim = np.maximum(
                band(np.abs(x) - half + 0.4, 0.09, across),
                band(np.abs(s - road.s) - road.half_width, 0.09, along),
            )
            box = np.maximum(cross, rim) * inside
            yellow = np.maximum(yellow, box)

    if plan.zebra is not None:
        offset = s - plan.zebra
        stripes = band(x % 1.2 - 0.6, 0.3, across) * band(offset, 1.4, along) * (edge < -0.15)
        stop = band(offset + 2.4, 0.1, along) * (x < -0.15) * (edge < -0.15)
        other = band(offset - 2.4, 0.1, along) * (x > 0.15) * (edge < -0.15)
        white = np.maximum(white, np.maximum(stripes, np.maximum(stop, other)))
        yellow = yellow * (np.abs(offset) > 2.2)
    if plan.arrow is not None:
        offset, lane = s - plan.arrow, np.abs(x + half / 2)
        shaft = band(lane, 0.08, across) * band(offset - 1.2, 1.2, along)
        head = np.clip((0.45 - lane - (offset - 2.2) * 0.36) / across, 0, 1) * (offset > 2.2)
        white = np.maximum(white, np.maximum(shaft, head * (offset < 3.6)))
    return white, yellow


def band(distance: np.ndarray, half_width: float, pixel: np.ndarray) -> np.ndarray:
    """Return how much of each pixel lies within a band, 0 to 1; `pixel` is its size in meters."""
    covered: np.ndarray = np.clip(
        (half_width - np.abs(distance)) / pixel + 0.5, 0, np.minimum(1, 2 * half_width / pixel)
    )
    return covered
