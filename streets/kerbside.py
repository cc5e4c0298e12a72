"""What stands on a pavement along its kerb: lamps, lights, signs, bollards, railings, trees."""

from collections.abc import Iterator

from nonlocal_lens.streets.dice import Dice
from nonlocal_lens.streets.furniture import Beacon, Bollard, Lamp, Pole, Railing
from nonlocal_lens.streets.palette import METALS
from nonlocal_lens.streets.plan import RoadPlan
from nonlocal_lens.streets.plots import random_tree
from nonlocal_lens.streets.signs import TrafficLight, pavement_board, random_sign
from nonlocal_lens.streets.thing import Thing


def kerbside(dice: Dice, plan: RoadPlan, side: int) -> Iterator[Thing]:
    """Yield what stands on the pavement along the kerb."""
    kerb = side * (plan.half_width + 0.5)
    back = side * (plan.half_width + plan.pavement(side) - 0.3)
    metal = dice.color(METALS)

    s = dice.between(9, 24)
    lamp_height, gap = dice.between(5.5, 9), dice.between(18, 28)
    while s < 34:
        if plan.clear(side, s):
            radius = dice.between(0.06, 0.08)
            yield Lamp(kerb, s, lamp_height, radius, metal, arm=dice.between(0.6, 1.8))
        s += gap

    for road in plan.side_roads:
        if road.side == side and dice.chance(0.35):
            s = road.s - road.half_width - 1.2
            yield TrafficLight(
                kerb, s, dice.between(3.0, 3.6), 0.06, (60, 60, 62), lit=dice.pick((0, 2))
            )
    for _ in range(dice.pick((0, 1, 2, 2, 3, 4))):
        s = dice.between(6, 27)
        if plan.clear(side, s):
            yield random_sign(dice, dice.pick((kerb, kerb, back)), s, metal)
    if plan.zebra is not None:
        yield Beacon(kerb, plan.zebra + side * 1.9, 2.6, 0.07, metal)
    if dice.chance(0.22):
        start, gap = dice.between(5, 14), dice.between(1.5, 2.6)
        color = dice.color(((34, 34, 36), (34, 34, 36), (90, 84, 76), (60, 40, 36)))
        for index in range(dice.whole(3, 8)):
            s = start + index * gap
            if plan.clear(side, s):
                yield Bollard(kerb, s, dice.between(0.95, 1.0), 0.08, color)
    elif dice.chance(0.25):
        start, height = dice.between(5, 14), dice.between(1.0, 1.15)
        for index in range(dice.whole(3, 9)):
            s = start + index * 2.2
            if plan.clear(side, s + 1.1):
                yield Railing(kerb, s, s + 2.2, height, metal)
    if dice.chance(0.2):
        s, gap = dice.between(9, 18), dice.between(9, 14)
        pattern = random_tree(dice, kerb, s, big=False)
        while s < 70:
            if plan.clear(side, s):
                yield random_tree(dice, side * (abs(kerb) + 0.3), s, big=pattern.height > 5)
            s += gap
    if dice.chance(0.25):
        s = dice.between(8, 24)
        if plan.clear(side, s):
            yield Pole(
                back, s, dice.between(2.4, 6.5), dice.between(0.05, 0.08), dice.color(METALS)
            )
    if dice.chance(0.25):
        s = dice.between(6, 20)
        if plan.clear(side, s):
            yield pavement_board(dice, side * (abs(back) - dice.between(0.0, 0.6)), s)
