"""The plan of a street's ground: where the roads, kerbs, pavements and car parks are."""

from collections.abc import Iterator
from dataclasses import dataclass

from nonlocal_lens.streets.dice import Dice
from nonlocal_lens.streets.palette import Color

SIDES = (-1, 1)
"""Left and right."""

BAY = 2.7
"""Width of a parking bay across a car park, in meters."""


@dataclass(frozen=True)
class SideRoad:
    """A road that joins from one side."""

    s: float  # where its center line is
    half_width: float
    side: int  # -1 from the left, 1 from the right


@dataclass(frozen=True)
class RoadPlan:
    """What the ground of a street looks like from above, in meters."""

    half_width: float
    side_roads: tuple[SideRoad, ...]
    road_color: Color
    pavement_color: Color
    kerb_color: Color
    slab: float  # side of the pavement's slabs; 0 is asphalt
    pavements: tuple[float, float]  # widths, left and right
    forecourts: tuple[float, float]  # depths of the car parks behind the pavements; 0 is none
    verge: float  # width of the grass behind the kerb; 0 is none
    center_line: str  # "dashed", "solid", "hatched" or "none"
    edge_lines: str  # "single", "double", "white" or "none"
    zebra: float | None  # where a zebra crossing is
    arrow: float | None  # where an arrow is in the left lane
    box: bool  # whether junctions have yellow boxes
    patches: tuple[tuple[float, float, float, float, float], ...]  # x, s, half sizes, brightness
    parking_bays: tuple[int, ...]  # sides with marked bays
    texture_offset: tuple[int, int]

    def pavement(self, side: int) -> float:
        """Return the width of a side's pavement."""
        return self.pavements[side > 0]

    def forecourt(self, side: int) -> float:
        """Return the depth of a side's car park, or 0."""
        return self.forecourts[side > 0]

    def line(self, side: int) -> float:
        """Return how far from the center line a side's plots begin."""
        return self.half_width + self.pavement(side) + self.forecourt(side)

    def clear(self, side: int, s: float) -> bool:
        """Say whether a side's kerb at s is neither a side road nor a crossing."""
        if self.zebra is not None and abs(s - self.zebra) < 2.6:
            return False
        return all(abs(s - r.s) > r.half_width + 1.5 for r in self.side_roads if r.side == side)

    def stretches(self, side: int, start: float, end: float) -> Iterator[tuple[float, float]]:
        """Yield where a side's plots can be: between the side roads and their pavements."""
        pavement = self.pavement(side)
        for road in sorted((r for r in self.side_roads if r.side == side), key=lambda r: r.s):
            if road.s - road.half_width - pavement > start:
                yield start, road.s - road.half_width - pavement
            start = max(start, road.s + road.half_width + pavement)
        if start < end:
            yield start, end


def random_plan(dice: Dice) -> RoadPlan:
    """Return the ground of a street."""
    half = dice.between(3.0, 5.2)
    roads: list[SideRoad] = []
    at = dice.between(14, 45)
    while at < 75:
        if dice.chance(0.6):
            sides = dice.pick((SIDES, (-1,), (1,)))
            width = dice.between(2.6, 4.0)
            roads.extend(SideRoad(at, width, side) for side in sides)
        at += dice.between(25, 45)
    gray = dice.between(88, 120)
    road: Color = (gray, gray * 1.01, gray * dice.between(1.0, 1.06))
    if dice.chance(0.35):  # the same asphalt: only the kerb tells them apart
        pavement, slab = road, 0.0
    else:
        tone = dice.between(98, 150)
        pavement = (tone, tone * 0.985, tone * dice.between(0.92, 0.98))
        slab = dice.pick((0.0, 0.6, 0.75))
    kerb = dice.between(130, 175)
    free = [s for s in (dice.between(9, 20),) if all(abs(s - r.s) > 8 for r in roads)]
    zebra = free[0] if free and dice.chance(0.25) else None
    patches = tuple(
        (
            dice.between(-half, half),
            dice.between(3, 30),
            dice.between(0.3, 1.2),
            dice.between(0.3, 5),
            dice.pick((0.75, 0.85, 1.12)),
        )
        for _ in range(dice.whole(0, 4))
    )
    return RoadPlan(
        half_width=half,
        side_roads=tuple(roads),
        road_color=road,
        pavement_color=pavement,
        kerb_color=(kerb, kerb, kerb * 0.96),
        slab=slab,
        verge=dice.between(1.0, 2.0) if dice.chance(0.12) else 0.0,
        pavements=(dice.between(2.0, 4.2), dice.between(2.0, 4.2)),
        forecourts=(forecourt(dice), forecourt(dice)),
        center_line=dice.pick(("dashed", "dashed", "dashed", "solid", "hatched", "none")),
        edge_lines=dice.pick(("none", "single", "double", "double", "white")),
        zebra=zebra,
        arrow=dice.between(6, 14) if dice.chance(0.15) else None,
        box=dice.chance(0.3),
        patches=patches,
        parking_bays=tuple(side for side in SIDES if dice.chance(0.15)),
        texture_offset=(dice.whole(0, 255), dice.whole(0, 255)),
    )


def forecourt(dice: Dice) -> float:
    """Return the depth of a car park between the pavement and the plots; mostly there is none."""
    return dice.between(7, 17) if dice.chance(0.12) else 0.0
