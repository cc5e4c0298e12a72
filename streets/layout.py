"""A random street of a British town, and a camera in it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from nonlocal_lens.streets.backdrop import backdrop
from nonlocal_lens.streets.camera import Camera
from nonlocal_lens.streets.crowd import people
from nonlocal_lens.streets.dice import Dice
from nonlocal_lens.streets.kerbside import kerbside
from nonlocal_lens.streets.people import Cyclist, Person
from nonlocal_lens.streets.plan import SIDES, RoadPlan, random_plan
from nonlocal_lens.streets.plots import plots
from nonlocal_lens.streets.thing import Thing
from nonlocal_lens.streets.traffic import car_park, parked_cars, traffic
from nonlocal_lens.streets.vehicles import Vehicle

ELBOW_ROOM = 0.15
"""Meters that everybody keeps free around them."""


@dataclass(frozen=True)
class Street:
    """A street and all that stands in it."""

    plan: RoadPlan
    things: tuple[Thing, ...]


def random_street(dice: Dice) -> Street:
    """Return a street from just behind the camera to the backdrop."""
    plan = random_plan(dice)
    parked = {side: dice.chance(0.6) for side in SIDES}
    things = chain(
        scenery(dice, plan, parked), traffic(dice, plan, parked), people(dice, plan, parked)
    )
    return Street(plan, tuple(apart(things)))


def apart(things: Iterable[Thing]) -> Iterator[Thing]:
    """Leave out who or what drives, rides or walks where somebody is already."""
    taken: list[np.ndarray] = []
    for thing in things:
        if isinstance(thing, Vehicle | Person | Cyclist):
            outline, _ = thing.footprint()
            low, high = outline.min(axis=0) - ELBOW_ROOM, outline.max(axis=0) + ELBOW_ROOM
            if any((low < other[1]).all() and (high > other[0]).all() for other in taken):
                continue
            taken.append(np.stack([low, high]))
        yield thing


def scenery(dice: Dice, plan: RoadPlan, parked: dict[int, bool]) -> Iterator[Thing]:
    """Yield all that stands still; `parked` says along which sides there are cars."""
    yield from backdrop(dice)
    for side in SIDES:
        yield from plots(dice, plan, side)
        yield from kerbside(dice, plan, side)
        if parked[side]:
            yield from parked_cars(dice, plan, side)
        if plan.forecourt(side):
            yield from car_park(dice, plan, side)


def random_camera(dice: Dice, size_hw: tuple[int, int], street: Street) -> Camera:
    """Return a camera in the left lane, behind a windscreen."""
    height, width = size_hw
    half = street.plan.half_width
    lane = -half / 2
    # Cars that are parked right in front are kept clear of.
    if any(
        isinstance(thing, Vehicle) and thing.x < -half + 1.5 and thing.s < 14
        for thing in street.things
    ):
        lane = max(lane, -half + 1.9 + 1.4)
    return Camera(
        size_hw,
        focal=max(width, height * 4 / 3) * dice.between(0.86, 1.12),
        horizon=height * dice.between(0.47, 0.56),
        height=dice.between(1.2, 1.5),
        x=lane + dice.between(-0.3, 0.3),
        yaw=dice.between(-0.09, 0.09),
        bend=dice.between(-0.006, 0.006) if dice.chance(0.6) else 0.0,
        rise=dice.between(-0.0001, 0.0006) if dice.chance(0.5) else 0.0,
        bonnet=dice.between(0.02, 0.07) if dice.chance(0.2) else 0.0,
    )
