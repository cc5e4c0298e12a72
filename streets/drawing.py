"""Painting a whole street, from the sky down to the camera's own bonnet."""

import cv2
import numpy as np
from jaxtyping import UInt8

from nonlocal_lens.streets.camera import Camera
from nonlocal_lens.streets.canvas import Canvas
from nonlocal_lens.streets.classes import ROAD, VOID
from nonlocal_lens.streets.layout import Street
from nonlocal_lens.streets.lens import Lens, photograph
from nonlocal_lens.streets.light import Light
from nonlocal_lens.streets.road import ground_mask, paint_ground
from nonlocal_lens.streets.sky import paint_sky
from nonlocal_lens.streets.thing import cast
from nonlocal_lens.streets.vehicles import Vehicle
from nonlocal_lens.streets.view import View


def draw(
    street: Street, camera: Camera, light: Light, lens: Lens
) -> tuple[UInt8[np.ndarray, "height width 3"], UInt8[np.ndarray, "height width"]]:
    """Return a picture of a street and its labels, painted from the sky down to the own bonnet."""
    canvas = Canvas(camera.size_hw)
    canvas.background(0, paint_sky(camera, light))

    shadows = []
    if light.direct:
        for thing in street.things:
            outline, height = thing.footprint()
            shadows.append(cast(outline, height, light.sun))
    under = [thing.footprint()[0] for thing in street.things if isinstance(thing, Vehicle)]
    scale = camera.size_hw[0] / 360
    ground, pixels = paint_ground(
        street.plan,
        camera,
        light,
        ground_mask(camera, shadows, blur=0.8 * scale),
        ground_mask(camera, under, blur=2.5 * scale),
    )
    canvas.background(ground.top, pixels)

    view = View(camera, light, canvas)
    for thing in sorted(street.things, key=lambda thing: -thing.far):
        if camera.may_show(thing.x, thing.far, thing.reach):
            thing.paint(view)
    if camera.bonnet:
        paint_bonnet(canvas, camera)

    image, labels = canvas.finish()
    if light.wetness:
        image = mirror(image, labels, camera, light.wetness)
    return photograph(image, lens), labels


def paint_bonnet(canvas: Canvas, camera: Camera) -> None:
    """Paint the bonnet of the camera's own car along the lower edge; it has no class."""
    height, width = camera.size_hw
    x = np.linspace(-0.05, 1.05, 24)
    rim = height * (1 - camera.bonnet * (1 - (2 * x - 1) ** 2 * 0.6))
    outline = np.stack([x * width, rim], axis=1)
    outline = np.concatenate([outline, [(1.1 * width, height + 2), (-0.1 * width, height + 2)]])
    canvas.polygons(outline[None], (22, 23, 26, VOID))


def mirror(
    image: UInt8[np.ndarray, "height width 3"],
    labels: UInt8[np.ndarray, "height width"],
    camera: Camera,
    wetness: float,
) -> UInt8[np.ndarray, "height width 3"]:
    """Let a wet road mirror what stands above it, drawn out downwards."""
    horizon = round(camera.horizon)
    height = camera.size_hw[0]
    rows = np.clip(2 * horizon - np.arange(height), 0, height - 1)
    streaks = (3, max(3, height // 12))
    mirrored = cv2.blur(image[rows], streaks)
    wet = cv2.addWeighted(image, 1 - wetness, mirrored, wetness, 0)
    return np.where((labels == ROAD)[..., None], wet, image)
