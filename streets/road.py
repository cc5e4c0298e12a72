"""The ground: carriageway, side roads, kerbs, pavements, verges and what is painted on them."""

from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from nonlocal_lens.streets.camera import Camera, Ground
from nonlocal_lens.streets.classes import PAVEMENT, ROAD, TREE
from nonlocal_lens.streets.light import UP, Light
from nonlocal_lens.streets.markings import WHITE, YELLOW, Field, band, markings
from nonlocal_lens.streets.plan import SIDES, RoadPlan
from nonlocal_lens.streets.textures import TILE, noise

KERB_WIDTH = 0.22
"""In meters."""


def paint_ground(
    plan: RoadPlan,
    camera: Camera,
    light: Light,
    shadow: UInt8[np.ndarray, "height width"],
    contact: UInt8[np.ndarray, "height width"],
) -> tuple[Ground, UInt8[np.ndarray, "rows width 4"]]:
    """Return the ground of a camera's picture and its colors and labels.

    `shadow` is 255 where the sun does not reach, `contact` is 255 right under things.
    """
    ground = camera.ground()
    x, z = ground.x, ground.depth
    s = z + np.float32(camera.s)
    across = z / camera.focal  # meters per pixel, sideways
    along = z * z / (camera.focal * camera.height)  # meters per pixel, along the street

    edge = road_edge(plan, x, s)  # meters beyond the kerb; negative on the road
    blur = footprint(edge)
    on_road = np.clip(0.5 - edge / blur, 0, 1)
    on_kerb = np.clip(0.5 - (edge - KERB_WIDTH) / blur, 0, 1) - on_road
    grass = (edge > KERB_WIDTH) & (edge < KERB_WIDTH + plan.verge)

    labels = np.where(edge < 0, np.uint8(ROAD), np.uint8(PAVEMENT))
    labels[grass] = TREE

    rough = texture(plan, x, s, 6.0, noise(4, 4))
    grain = texture(plan, x, s, 1.3, noise(3, 32)) * np.clip(4 / z, 0, 1)
    asphalt = 1 + 0.05 * rough + 0.09 * grain
    lane = np.abs(np.abs(np.abs(x) - plan.half_width / 2) - 0.75)
    asphalt_road = asphalt * (1 - 0.07 * np.exp(-((lane / 0.35) ** 2)))
    for px, ps, half_x, half_s, brightness in plan.patches:
        inside = band(x - px, half_x, across) * band(s - ps, half_s, along)
        asphalt_road *= 1 + (brightness - 1) * inside

    paving = asphalt
    if plan.slab:
        fade = np.clip(plan.slab * 0.25 / along, 0, 1)
        joint = np.maximum(
            band(x % plan.slab - 0.03, 0.03, across),
            band(s % (plan.slab * 1.5) - 0.03, 0.03, along) * fade,
        )
        slab = np.floor(x / plan.slab) * 7.3 + np.floor(s / (plan.slab * 1.5)) * 3.7
        tone = np.sin(slab * slab)  # as good as random from slab to slab
        paving = asphalt * (1 - 0.3 * joint) * (1 + 0.05 * fade * tone)

    white, yellow = markings(plan, x, s, edge, across, along)
    worn = 0.86 + 0.1 * rough
    color = []
    for channel in range(3):
        tone = plan.road_color[channel] * asphalt_road
        tone += (WHITE[channel] - tone) * white * worn
        tone += (YELLOW[channel] - tone) * yellow * worn
        walk = plan.pavement_color[channel] * paving
        if plan.verge:
            walk = np.where(grass, (78, 96, 52)[channel] * (1 + 0.16 * rough + 0.2 * grain), walk)
        kerb = plan.kerb_color[channel] * asphalt
        color.append(tone * on_road + kerb * on_kerb + walk * (1 - on_road - on_kerb))
    return ground, cv2.merge([*lit(color, ground, light, shadow, contact), labels])


def road_edge(plan: RoadPlan, x: Field, s: Float[np.ndarray, "rows 1"]) -> Field:
    """Return the signed distance to the nearest kerb in meters: negative on the road.

    Where two roads meet the kerb turns in an arc.
    """
    edge: Field = np.abs(x) - plan.half_width
    for road in plan.side_roads:
        beside = np.maximum(np.abs(s - road.s) - road.half_width, -x * road.side)
        edge = rounded_union(edge, beside, radius=2.5)
    for side in SIDES:
        if depth := plan.forecourt(side):
            edge = np.minimum(edge, np.abs(side * x - plan.line(side) + depth / 2) - depth / 2)
    return edge


def rounded_union(a: Field, b: Field, radius: float) -> Field:
    """Return the signed distance to two shapes together, the corner between them filled by an arc.

    The "round union" of constructive solid geometry with distance fields.
    """
    corner = np.hypot(np.maximum(radius - a, 0), np.maximum(radius - b, 0))
    distance: np.ndarray = np.maximum(np.minimum(a, b), radius) - corner
    return distance


def footprint(field: Field) -> Field:
    """Return by how much a field changes from one pixel to the next; never 0."""
    change = np.abs(np.diff(field, axis=1, append=field[:, -1:]))
    change += np.abs(np.diff(field, axis=0, append=field[-1:]))
    return np.maximum(change, 1e-4)


def texture(
    plan: RoadPlan, x: Field, s: Float[np.ndarray, "rows 1"], meters: float, tile: np.ndarray
) -> Field:
    """Look a tile up that covers `meters` by `meters` of ground."""
    scale = TILE / meters
    columns = (x * scale).astype(np.int32) + plan.texture_offset[0]
    rows = (s * scale).astype(np.int32) + plan.texture_offset[1]
    return tile[rows % TILE, columns % TILE]


def lit(
    color: list[Field],
    ground: Ground,
    light: Light,
    shadow: UInt8[np.ndarray, "height width"],
    contact: UInt8[np.ndarray, "height width"],
) -> Iterator[UInt8[np.ndarray, "rows width"]]:
    """Yield the ground's red, green and blue in some light: shadows, then haze."""
    full = np.array(light.shade((100, 100, 100), UP, 0)) / 100
    shaded = light.ambient * np.array(light.tint)
    in_shadow = shadow[ground.top :].astype(np.float32) / 255
    clear = np.exp(-light.haze * ground.depth)
    reaching = (1 - np.float32(0.55 / 255) * contact[ground.top :]) * clear
    for channel, plane in enumerate(color):
        factor = np.float32(full[channel]) + np.float32((shaded - full)[channel]) * in_shadow
        haze = np.float32(light.sky_low[channel]) * (1 - clear)
        yield np.minimum(plane * factor * reaching + haze, 255).astype(np.uint8)


def ground_mask(
    camera: Camera, outlines: list[Float[np.ndarray, "points 2"]], blur: float
) -> UInt8[np.ndarray, "height width"]:
    """Draw outlines on the ground, (x, s) in meters, as 255 on 0, blurred by `blur` pixels."""
    mask = np.zeros(camera.size_hw, np.uint8)
    for outline in outlines:
        points = np.insert(outline, 1, 0.0, axis=1)
        if (camera.depth(points) > 0.5).any():
            pixels = np.clip(camera.project(points) * 8 - 4, -(2**20), 2**20)
            cv2.fillPoly(mask, [np.rint(pixels).astype(np.int32)], 255, cv2.LINE_AA, 3)
    return cv2.GaussianBlur(mask, (0, 0), blur) if outlines and blur else mask
