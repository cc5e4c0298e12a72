"""From a seed to a labeled clip of a street."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from nonlocal_lens.streets.camera import Camera
from nonlocal_lens.streets.classes import CLIP_LABELS
from nonlocal_lens.streets.crowd import random_person
from nonlocal_lens.streets.dice import Dice
from nonlocal_lens.streets.drawing import draw
from nonlocal_lens.streets.layout import Street, random_camera, scenery
from nonlocal_lens.streets.lens import REPEAT, random_lens
from nonlocal_lens.streets.light import random_light
from nonlocal_lens.streets.plan import random_plan
from nonlocal_lens.streets.scene import SIZE_HW, check
from nonlocal_lens.streets.story import DURATION, Story, random_story

MOST_FRAMES = 512

CLIPS = 1
"""What sets the chance of clips apart from that of scenes of the same seed."""


class Clip(NamedTuple):
    """Pictures of one street over `DURATION` seconds, and what happens in them."""

    images: UInt8[np.ndarray, "frames height width 3"]
    labels: UInt8[np.ndarray, "frames height width"]  # values of streets.classes
    label: int  # index into `label_names`
    label_names: tuple[str, ...] = CLIP_LABELS


def render_clip(seed: int, frames: int = 32, size_hw: tuple[int, int] = SIZE_HW) -> Clip:
    """Return the clip of a seed: the same bytes for the same arguments and library versions.

    The frames are evenly spread over `DURATION` seconds, so fewer of them show the same event.

    Args:
        seed: Any whole number from 0 up; `split_seeds` says which belong to which split.
        frames: How many pictures, from 1 to 512.
        size_hw: Height and width in pixels, each from 32 to 2048.

    Raises:
        ValueError: The seed is negative, or the number of frames or the size out of range.
    """
    check(seed, size_hw)
    if not 1 <= frames <= MOST_FRAMES:
        raise ValueError(f"frames must be from 1 to {MOST_FRAMES}, got {frames}")
    dice = Dice(np.random.default_rng([seed, CLIPS]))
    street, story = random_event(dice)
    camera, speed = clip_camera(dice, size_hw, street)
    light, lens = random_light(dice), random_lens(dice)
    images = np.empty((frames, *size_hw, 3), np.uint8)
    labels = np.empty((frames, *size_hw), np.uint8)
    for frame, time in enumerate(np.linspace(0, DURATION, frames)):
        things = (*street.things, *(track.at(float(time)) for track in story.tracks))
        grain = (dice.whole(0, REPEAT - 1), dice.whole(0, REPEAT - 1))
        images[frame], labels[frame] = draw(
            Street(street.plan, things),
            replace(camera, s=speed * float(time)),
            light,
            replace(lens, grain=grain),
        )
    return Clip(images, labels, story.label)


def random_event(dice: Dice) -> tuple[Street, Story]:
    """Return a street where all stands still, and what happens on its zebra crossing."""
    zebra = dice.between(9.0, 11.5)
    plan = random_plan(dice)
    roads = tuple(road for road in plan.side_roads if abs(road.s - zebra) > 12)
    half = max(plan.half_width, 3.6)
    plan = replace(plan, half_width=half, zebra=zebra, side_roads=roads, arrow=None)
    parked = {-1: dice.chance(0.5), 1: False}
    things = list(scenery(dice, plan, parked))
    for _ in range(dice.whole(0, 2)):
        x = -(plan.half_width + dice.between(0.8, plan.pavement(-1) - 0.4))
        bystander = random_person(dice, x, zebra + dice.between(3, 12), dice.between(0, 6.3))
        things.append(replace(bystander, walking=False))
    return Street(plan, tuple(things)), random_story(dice, plan, zebra)


def clip_camera(dice: Dice, size_hw: tuple[int, int], street: Street) -> tuple[Camera, float]:
    """Return a camera that looks at the zebra crossing, and how fast it nears it, in m / s."""
    camera = random_camera(dice, size_hw, street)
    assert street.plan.zebra is not None
    target = dice.between(0.0, 1.5)
    yaw = -(target - camera.x) / street.plan.zebra - camera.bend / 2 * street.plan.zebra
    speed = dice.between(0.05, 0.2) if dice.chance(0.6) else 0.0
    return replace(camera, yaw=yaw, bonnet=0.0), speed
