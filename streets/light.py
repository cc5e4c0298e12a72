"""Light and weather: what color a surface has when it is seen from a distance."""

from dataclasses import dataclass
from math import exp

import numpy as np

from nonlocal_lens.streets.dice import Dice
from nonlocal_lens.streets.palette import Color

UP = (0.0, 1.0, 0.0)

WEATHERS = ("overcast",) * 9 + ("sunny",) * 5 + ("dusk",) * 2 + ("rain",) * 2
"""Each as often as it is to come."""


@dataclass(frozen=True)
class Light:
    """One weather at one time of day."""

    weather: str
    sun: tuple[float, float, float]  # unit vector towards the sun, in street coordinates
    direct: float  # strength of the sun on a surface that faces it
    ambient: float  # strength of the sky on a surface that faces up
    tint: Color  # of the ambient light, around 1
    sky_top: Color
    sky_low: Color
    clouds: float  # contrast of the clouds, 0 to 1
    drift: tuple[int, int]  # which clouds
    haze: float  # 1 / m
    wetness: float  # 0 to 1: how much of the surroundings the road mirrors

    @property
    def lamps_lit(self) -> bool:
        """Whether headlights and windows shine."""
        return self.weather == "dusk"

    def shade(
        self, color: Color, normal: tuple[float, float, float], depth: float
    ) -> tuple[int, int, int]:
        """Return the color, 0 to 255, of a surface with a unit normal at a depth in meters."""
        nx, ny, ns = normal
        sx, sy, ss = self.sun
        ambient = self.ambient * (0.78 + 0.22 * ny)
        direct = self.direct * max(0.0, nx * sx + ny * sy + ns * ss)
        clear = exp(-self.haze * max(depth, 0.0))
        r, g, b = color
        tint_r, tint_g, tint_b = self.tint
        haze_r, haze_g, haze_b = self.sky_low
        return (
            min(255, int(r * (ambient * tint_r + direct) * clear + haze_r * (1 - clear))),
            min(255, int(g * (ambient * tint_g + direct) * clear + haze_g * (1 - clear))),
            min(255, int(b * (ambient * tint_b + direct) * clear + haze_b * (1 - clear))),
        )


def random_light(dice: Dice) -> Light:
    """Return a weather: mostly dull or bright, now and then dusk or rain."""
    weather = dice.pick(WEATHERS)
    azimuth = dice.between(0, 2 * np.pi)
    elevation = dice.between(0.3, 0.75)
    sun = (
        float(np.cos(elevation) * np.sin(azimuth)),
        float(np.sin(elevation)),
        float(np.cos(elevation) * np.cos(azimuth)),
    )
    level = dice.between(0.85, 1.12)
    drift = (dice.whole(0, 255), dice.whole(0, 255))
    if weather == "sunny":
        blue = dice.between(0, 1)
        return Light(
            weather,
            sun,
            direct=0.62 * level,
            ambient=0.5 * level,
            tint=(0.94, 1.0, 1.1),
            sky_top=(215 - 90 * blue, 230 - 55 * blue, 250 - 10 * blue),
            sky_low=(250 - 25 * blue, 252 - 12 * blue, 254),
            clouds=dice.between(0, 0.6),
            drift=drift,
            haze=dice.between(0.0005, 0.002),
            wetness=0.0,
        )
    if weather == "dusk":
        low = dice.between(120, 190)
        return Light(
            weather,
            sun,
            direct=0.0,
            ambient=dice.between(0.27, 0.42),
            tint=(0.96, 1.0, 1.06),
            sky_top=(low * 0.62, low * 0.72, low * 0.8),
            sky_low=(low * 1.12, low * 1.06, low),
            clouds=dice.between(0.5, 1),
            drift=drift,
            haze=dice.between(0.001, 0.003),
            wetness=dice.between(0.1, 0.3) if dice.chance(0.25) else 0.0,
        )
    gray = dice.between(222, 255)
    rainy = weather == "rain"
    return Light(
        weather,
        sun,
        direct=0.0,
        ambient=(0.62 if rainy else 0.74) * level,
        tint=(0.98, 1.0, 1.02),
        sky_top=(gray * 0.94, gray * 0.96, gray * 0.98) if not rainy else (gray * 0.82,) * 3,
        sky_low=(gray, gray, gray) if not rainy else (gray * 0.9,) * 3,
        clouds=dice.between(0, 0.35) if dice.chance(0.7) else dice.between(0.4, 1),
        drift=drift,
        haze=dice.between(0.006, 0.014) if rainy else dice.between(0.001, 0.005),
        wetness=dice.between(0.2, 0.45) if rainy else 0.0,
    )
