"""Vehicles: parked, ahead, oncoming, waiting in side roads."""

from collections.abc import Iterator
from math import copysign

import numpy as np

from nonlocal_lens.streets.dice import Dice
from nonlocal_lens.streets.palette import CARS
from nonlocal_lens.streets.plan import BAY, SIDES, RoadPlan
from nonlocal_lens.streets.thing import Thing
from nonlocal_lens.streets.vehicles import BODIES, Vehicle


def parked_cars(dice: Dice, plan: RoadPlan, side: int) -> Iterator[Thing]:
    """Yield a row of cars along one kerb."""
    start, end = dice.between(3, 20), dice.between(25, 75)
    density = dice.between(0.5, 1.0)
    s = start
    while s < end:
        body = dice.pick(("hatchback", "hatchback", "saloon", "estate", "offroader", "van"))
        length = BODIES[body].length
        middle = s + length / 2
        if dice.chance(density) and plan.clear(side, s) and plan.clear(side, s + length):
            heading = 0.0 if (side < 0) == dice.chance(0.85) else np.pi
            x = side * (plan.half_width - 0.15 - BODIES[body].width / 2)
            yield Vehicle(x, middle, heading + dice.between(-0.03, 0.03), body, dice.color(CARS))
        s += length + dice.between(0.7, 2.0)


def car_park(dice: Dice, plan: RoadPlan, side: int) -> Iterator[Thing]:
    """Yield cars side by side in the bays of a car park."""
    density = dice.between(0.3, 0.9)
    for start, end in plan.stretches(side, 3.0, 60.0):
        bay = int(start / BAY) + 1
        while bay * BAY + BAY / 2 < end - 1:
            if dice.chance(density):
                body = dice.pick(("hatchback", "hatchback", "saloon", "estate", "offroader"))
                x = side * (plan.half_width + plan.pavement(side) + 2.6)
                heading = dice.pick((-np.pi / 2, np.pi / 2)) + dice.between(-0.04, 0.04)
                # Bays are ruled at odd multiples of half their width.
                yield Vehicle(x, bay * BAY, heading, body, dice.color(CARS))
            bay += 1


def traffic(dice: Dice, plan: RoadPlan, parked: dict[int, bool]) -> Iterator[Thing]:
    """Yield moving vehicles: ahead, coming and crossing."""
    lanes = {side: lane(plan, side, parked) for side in SIDES}
    bodies = ("hatchback", "hatchback", "saloon", "estate", "van", "offroader", "bus")
    if dice.chance(0.55):
        s = dice.between(9, 40)
        for _ in range(dice.whole(1, 3)):
            yield Vehicle(lanes[-1], s, 0.0, dice.pick(bodies), dice.color(CARS))
            s += dice.between(11, 20)
    if dice.chance(0.6):
        s = dice.between(9, 40)
        for _ in range(dice.whole(1, 3)):
            yield Vehicle(lanes[1], s, np.pi, dice.pick(bodies), dice.color(CARS))
            s += dice.between(12, 22)
    for road in plan.side_roads:
        if dice.chance(0.35):
            x = road.side * (plan.half_width + dice.between(1.5, 9))
            heading = -road.side * np.pi / 2 if dice.chance(0.7) else road.side * np.pi / 2
            s = road.s + 0.5 * road.half_width * copysign(1, np.sin(-heading))
            yield Vehicle(x, s, heading, dice.pick(bodies[:6]), dice.color(CARS))


def lane(plan: RoadPlan, side: int, parked: dict[int, bool]) -> float:
    """Return the middle of a lane, given which kerbs are parked at."""
    inner = 0.0
    outer = plan.half_width - (1.9 if parked[side] else 0)
    return side * max((inner + outer) / 2, 1.0)
