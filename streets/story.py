"""What happens in a clip: who moves where and when, and the label that follows from it.

Every label has a twin, and a single frame does not tell which of the two it is: whether somebody
walks left or right, which of two walks behind the other, who stood still for whom. Figures look
the same from both sides, those who wait stand as if in mid-step, and twins draw their places from
the same ranges. What decides is only in the comparison of places over time.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from nonlocal_lens.streets.classes import CLIP_LABELS
from nonlocal_lens.streets.crowd import random_person
from nonlocal_lens.streets.dice import Dice
from nonlocal_lens.streets.palette import CARS, Color
from nonlocal_lens.streets.people import Person
from nonlocal_lens.streets.plan import RoadPlan
from nonlocal_lens.streets.thing import Thing
from nonlocal_lens.streets.vehicles import BODIES, Vehicle

DURATION = 6.0
"""Seconds that a clip shows, however many frames it has."""

CLOCK = np.linspace(0, DURATION, 121)
"""Seconds at which stories say where things are."""

STEP = 1.5
"""Meters that a walker covers in two steps."""

RED: Color = (190.0, 30.0, 34.0)
BLUE: Color = (36.0, 62.0, 178.0)

Samples = Float[np.ndarray, " samples"]


@dataclass(frozen=True, eq=False)
class Track:
    """Something that moves, and where it is at each second of the `CLOCK`."""

    thing: Person | Vehicle
    x: Samples
    s: Samples

    def at(self, time: float) -> Thing:
        """Return it as it is after `time` seconds."""
        x, s = float(np.interp(time, CLOCK, self.x)), float(np.interp(time, CLOCK, self.s))
        if isinstance(self.thing, Vehicle):
            return replace(self.thing, x=x, s=s)
        steps = np.hypot(np.diff(self.x), np.diff(self.s))
        walked = np.concatenate([[0.0], np.cumsum(steps)])
        so_far = float(np.interp(time, CLOCK, walked))
        # Who stands looks where they will go next.
        going = min(int(np.searchsorted(walked, so_far, "right")), len(CLOCK) - 1)
        heading = np.arctan2(np.diff(self.x)[going - 1], np.diff(self.s)[going - 1])
        stride = self.thing.stride + so_far * 2 * np.pi / STEP
        return replace(self.thing, x=x, s=s, heading=float(heading), stride=stride)

    def speed(self) -> Samples:
        """Return how fast it is at each second of the `CLOCK`, in meters per second."""
        speed: np.ndarray = np.hypot(np.gradient(self.x, CLOCK), np.gradient(self.s, CLOCK))
        return speed


@dataclass(frozen=True)
class Story:
    """One event on a zebra crossing."""

    label: int  # index into CLIP_LABELS
    tracks: tuple[Track, ...]


def random_story(dice: Dice, plan: RoadPlan, zebra: float) -> Story:
    """Return an event on the zebra crossing of a street."""
    label = dice.whole(0, len(CLIP_LABELS) - 1)
    if label < 2:
        tracks: tuple[Track, ...] = (walker(dice, zebra, direction=(-1, 1)[label]),)
    elif label < 4:
        tracks = followers(dice, zebra, red_follows=label == 2)
    else:
        tracks = meeting(dice, plan, zebra, car_stops=label == 4)
    return Story(label, tracks)


def walker(dice: Dice, zebra: float, *, direction: int) -> Track:
    """Return someone who walks across, left (-1) or right (1)."""
    way = direction * dice.between(0.5, 0.85) * (CLOCK - DURATION / 2)
    return Track(actor(dice), dice.between(-0.5, 1.5) + way, beside(dice, zebra))


def followers(dice: Dice, zebra: float, *, red_follows: bool) -> tuple[Track, ...]:
    """Return a red and a blue walker, one behind the other."""
    direction = dice.pick((-1, 1))
    way = direction * dice.between(0.5, 0.8) * (CLOCK - DURATION / 2)
    middle, ahead = dice.between(-0.2, 1.2), direction * dice.between(0.55, 0.9)
    red, blue = (-ahead, ahead) if red_follows else (ahead, -ahead)
    return (
        Track(actor(dice, RED), middle + red + way, beside(dice, zebra)),
        Track(actor(dice, BLUE), middle + blue + way, beside(dice, zebra)),
    )


def beside(dice: Dice, zebra: float) -> Samples:
    """Return a straight way across, on the zebra crossing."""
    return np.full_like(CLOCK, zebra + dice.between(-0.8, 0.8))


def meeting(dice: Dice, plan: RoadPlan, zebra: float, *, car_stops: bool) -> tuple[Track, ...]:
    """Return a walker and two oncoming cars: the first passes before them, the second after.

    Either the second car stands for the walker, who never does, or the walker stands for the first
    car, and the second rolls on.
    """
    lane = plan.half_width / 2
    kerb = plan.half_width + 0.45
    into_lane = kerb - (lane + 1.3)  # meters from the kerb to where a car would be in the way
    stroll = dice.between(1.5, 3.5)  # meters along the pavement before turning at the kerb
    pace = dice.between(1.3, 1.6)
    first_passes = dice.between(1.2, 1.6)
    enters = max(first_passes + dice.between(1.2, 1.6), into_lane / pace + 2.0)
    leaves = enters + 2.6 / pace

    if car_stops:
        walked = np.interp(CLOCK, (0, enters), (0, stroll + into_lane))
        walked += pace * np.maximum(CLOCK - enters, 0)
    else:
        sets_out = enters - into_lane / pace
        arrives = sets_out - dice.between(1.1, 1.4)
        walked = np.interp(CLOCK, (0, arrives), (0, stroll))
        walked += pace * np.maximum(CLOCK - sets_out, 0)
    along = dice.pick((-1, 1)) * np.maximum(stroll - walked, 0)
    person = Track(actor(dice), kerb - np.maximum(walked - stroll, 0), zebra + along)

    first, second = random_car(dice), random_car(dice)
    length, speed = BODIES[first.body].length, dice.between(5.0, 6.5)
    nose = zebra + speed * (first_passes - CLOCK)
    passing = Track(first, np.full_like(CLOCK, lane), nose + length / 2)

    line = zebra + 2.8
    away = max(dice.between(9.0, 14.0), nose[0] + length + 3.0 - line)
    if car_stops:
        stands = leaves - dice.between(1.3, 1.9)
        speed = away / (stands - 0.6)  # it brakes in the last 1.2 seconds
        knots = (0, stands - 1.2, stands, leaves, leaves + 1.5)
        speeds = np.interp(CLOCK, knots, (speed, speed, 0, 0, 4))
    else:
        speeds = np.full_like(CLOCK, away / leaves)
    driven = np.concatenate([[0.0], np.cumsum((speeds[1:] + speeds[:-1]) / 2 * np.diff(CLOCK))])
    nose = line + away - driven
    waiting = Track(second, np.full_like(CLOCK, lane), nose + BODIES[second.body].length / 2)
    return person, passing, waiting


def actor(dice: Dice, coat: Color | None = None) -> Person:
    """Return someone who looks the same from the left and from the right."""
    person = random_person(dice, 0.0, 0.0, 0.0)
    return replace(person, walking=True, bag=False, coat=coat or person.coat)


def random_car(dice: Dice) -> Vehicle:
    """Return an oncoming car."""
    body = dice.pick(("hatchback", "saloon", "estate", "offroader"))
    return Vehicle(0.0, 0.0, np.pi, body, dice.color(CARS))
