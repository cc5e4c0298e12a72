"""What stands along the pavements: houses with their gardens, shops, parks."""

from collections.abc import Iterator
from math import copysign

from nonlocal_lens.streets.buildings import Building
from nonlocal_lens.streets.camera import FAR
from nonlocal_lens.streets.crowns import CROWNS
from nonlocal_lens.streets.dice import Dice
from nonlocal_lens.streets.furniture import Boards, Railing, Wall
from nonlocal_lens.streets.nature import Hedge, Tree
from nonlocal_lens.streets.palette import (
    BARKS,
    BOARDS,
    BRICKS,
    LEAVES,
    METALS,
    RENDERS,
    ROOFS,
    SHOPS,
    STONES,
    TRIMS,
)
from nonlocal_lens.streets.plan import RoadPlan
from nonlocal_lens.streets.signs import hanging_sign
from nonlocal_lens.streets.thing import Thing

STYLES = ("high street", "high street", "terrace", "terrace", "terrace", "suburb", "blocks", "park")


def plots(dice: Dice, plan: RoadPlan, side: int) -> Iterator[Thing]:
    """Yield the buildings of one side with their gardens, or a park."""
    line = side * plan.line(side)
    for start, end in plan.stretches(side, -1.0, FAR):
        style = dice.pick(STYLES)
        setback = dice.between(2.5, 5.0) if style == "suburb" else 0.0
        if style == "terrace" and dice.chance(0.4):
            setback = dice.between(1.2, 2.5)
        front = dice.pick(("wall", "hedge", "boards", "railing", "wall and hedge"))
        s, first = start, True
        while s < end - 2:
            length = {
                "high street": dice.between(6, 13),
                "terrace": dice.between(5, 7.5),
                "suburb": dice.between(8, 13),
                "park": dice.between(6, 10),
                "blocks": dice.between(12, 26),
            }[style]
            stop = min(end, s + length)
            if end - stop < 3:
                stop = end
            gap = style == "suburb" or (style != "park" and dice.chance(0.08))
            if style == "park" or (style != "suburb" and dice.chance(0.05)):
                yield from open_ground(dice, line, s, stop, front)
                gap = first = True
                s = stop
                continue
            wall_end = stop - (dice.between(1.5, 3.5) if gap and stop - s > 6 else 0)
            yield random_house(dice, line + side * setback, s, wall_end, style, gable=first)
            if style == "high street" and dice.chance(0.5):
                yield hanging_sign(dice, line, dice.between(s, wall_end))
            if setback:
                yield from fronts(dice, line, s, stop, front, low=True)
                if dice.chance(0.25):
                    x = line + side * setback * 0.5
                    yield random_tree(dice, x, dice.between(s, stop), big=False)
            if gap and wall_end < stop:
                yield from fronts(
                    dice,
                    line + side * 0.2,
                    wall_end,
                    stop,
                    dice.pick(("boards", "hedge", "wall")),
                    low=False,
                )
            first = gap
            s = stop


def random_house(
    dice: Dice, x: float, near: float, end: float, style: str, *, gable: bool = True
) -> Building:
    """Return a building in the style of its street."""
    kind = {"high street": "shop", "blocks": "block"}.get(style, "house")
    if style == "blocks" and dice.chance(0.35):
        kind = "shop"
    storeys = {"high street": dice.whole(2, 4), "blocks": dice.whole(3, 5)}.get(
        style, dice.pick((2, 2, 3))
    )
    eaves = 3.4 + (storeys - 1) * dice.between(2.7, 3.2)
    flat = style == "blocks" or dice.chance(0.12)
    wall = dice.pick(("brick", "brick", "plaster", "stone"))
    colors = {"brick": BRICKS, "plaster": RENDERS, "stone": STONES}[wall]
    bays = max(1, round((end - near) / dice.between(2.2, 3.4)))
    return Building(
        x=x,
        near=near,
        end=end,
        eaves=eaves,
        ridge=eaves if flat else eaves + dice.between(1.8, 3.4),
        bays=bays,
        storeys=storeys,
        kind=kind,
        wall=wall,
        wall_color=dice.color(colors),
        trim_color=dice.color(TRIMS),
        roof_color=dice.color(ROOFS),
        shop_colors=tuple(dice.color(SHOPS) for _ in range(3)),
        glass=tuple(dice.between(0.3, 1.3) for _ in range(3)),
        door_bay=dice.whole(0, bays - 1),
        gable=gable,
        chimney=not flat and dice.chance(0.6),
        side_windows=dice.chance(0.4),
    )


def fronts(
    dice: Dice, x: float, near: float, end: float, kind: str, *, low: bool
) -> Iterator[Thing]:
    """Yield what stands between a plot and the pavement."""
    if kind == "hedge":
        height = dice.between(0.8, 1.5) if low else dice.between(1.4, 2.4)
        yield Hedge(x, near, end, height, dice.color(LEAVES))
    elif kind == "boards":
        height = dice.between(1.0, 1.4) if low else dice.between(1.6, 2.0)
        yield Boards(x, near, end, height, dice.color(BOARDS))
    elif kind == "railing":
        yield Railing(x, near, end, dice.between(1.0, 1.5), dice.color(METALS))
    else:
        height = dice.between(0.6, 1.0) if low else dice.between(1.4, 2.0)
        if kind == "wall and hedge":
            yield Hedge(x + 0.4 * copysign(1, x), near, end, height + 0.8, dice.color(LEAVES))
        yield Wall(x, near, end, height, dice.color(BRICKS))


def open_ground(dice: Dice, x: float, near: float, end: float, front: str) -> Iterator[Thing]:
    """Yield trees and bushes behind a boundary."""
    side = copysign(1, x)
    for _ in range(dice.whole(1, 3)):
        at = dice.between(near, end)
        yield random_tree(dice, x + side * dice.between(1.5, 9), at, big=dice.chance(0.6))
    yield Hedge(x + side * 10, near, end, dice.between(2.5, 4.5), dice.color(LEAVES))
    yield from fronts(dice, x, near, end, front, low=dice.chance(0.5))


def random_tree(dice: Dice, x: float, s: float, *, big: bool) -> Tree:
    """Return a tree, in leaf or bare."""
    height = dice.between(8, 14) if big else dice.between(4, 7.5)
    kind = dice.pick(("leafy", "bare"))
    return Tree(
        x=x,
        s=s,
        height=height,
        width=height * dice.between(0.65, 0.95),
        trunk=height * (dice.between(0.15, 0.3) if kind == "leafy" else 0.02),
        kind=kind,
        index=dice.whole(0, CROWNS - 1),
        mirrored=dice.chance(0.5),
        color=dice.color(LEAVES),
        bark=dice.color(BARKS),
    )
