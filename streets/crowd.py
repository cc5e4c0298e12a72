"""Who is about: pedestrians and cyclists."""

from collections.abc import Iterator

import numpy as np

from nonlocal_lens.streets.dice import Dice
from nonlocal_lens.streets.palette import CARS, CLOTHES, HAIRS, SKINS, TROUSERS
from nonlocal_lens.streets.people import Cyclist, Person
from nonlocal_lens.streets.plan import SIDES, RoadPlan
from nonlocal_lens.streets.thing import Thing


def people(dice: Dice, plan: RoadPlan, parked: dict[int, bool]) -> Iterator[Thing]:
    """Yield pedestrians and cyclists."""
    for side in SIDES:
        inner, outer = plan.half_width + 0.7, plan.half_width + plan.pavement(side) - 0.4
        for _ in range(dice.pick((0, 1, 1, 2, 3))):
            s = dice.between(6, 24)
            heading = dice.pick((0.0, np.pi)) + dice.between(-0.3, 0.3)
            for _ in range(dice.pick((1, 1, 2))):
                x = side * dice.between(inner, max(inner + 0.1, outer))
                yield random_person(dice, x, s + dice.between(-0.5, 0.5), heading)
    if dice.chance(0.18) or plan.zebra is not None:
        s = plan.zebra if plan.zebra is not None else dice.between(12, 28)
        x = dice.between(-plan.half_width, plan.half_width)
        yield random_person(dice, x, s + dice.between(-1, 1), dice.pick((-np.pi / 2, np.pi / 2)))
    if dice.chance(0.6):
        x = -(plan.half_width - (2.4 if parked[-1] else 0.7))
        yield random_cyclist(dice, x, dice.between(7, 22), 0.0)
    if dice.chance(0.4):
        x = plan.half_width - (2.4 if parked[1] else 0.7)
        yield random_cyclist(dice, x, dice.between(8, 22), np.pi)
    if dice.chance(0.25):
        x = dice.between(-plan.half_width, plan.half_width)
        yield random_cyclist(dice, x, dice.between(10, 22), dice.pick((-np.pi / 2, np.pi / 2)))


def random_person(dice: Dice, x: float, s: float, heading: float) -> Person:
    """Return someone on foot."""
    return Person(
        x=x,
        s=s,
        heading=heading,
        height=dice.between(1.55, 1.88),
        stride=dice.between(0, 2 * np.pi),
        walking=dice.chance(0.8),
        coat=dice.color(CLOTHES),
        trousers=dice.color(TROUSERS),
        skin=dice.color(SKINS),
        hair=dice.color(HAIRS),
        long_coat=dice.chance(0.35),
        bag=dice.chance(0.3),
    )


def random_cyclist(dice: Dice, x: float, s: float, heading: float) -> Cyclist:
    """Return someone on a bicycle."""
    return Cyclist(
        x=x,
        s=s,
        heading=heading + dice.between(-0.15, 0.15),
        pedal=dice.between(0, 2 * np.pi),
        coat=dice.color((*CLOTHES, (190, 190, 40))),
        trousers=dice.color(TROUSERS),
        skin=dice.color(SKINS),
        helmet=dice.color((*HAIRS, (160, 160, 164))),
        frame=dice.color(CARS),
    )
