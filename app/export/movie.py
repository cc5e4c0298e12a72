"""A clip with its maps beside it, frame by frame, as pictures for a video."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8

from nonlocal_lens.analysis.figures.drawing import color_map
from nonlocal_lens.analysis.figures.look import Look
from nonlocal_lens.analysis.figures.panels import Panel
from nonlocal_lens.analysis.figures.plate import Plate, Ranges

Picture = UInt8[np.ndarray, "height width 3"]

SCREEN = 0.5
"""Videos have this share of the resolution of print: 1012 pixels across at 300 dpi."""

BAR_COLORS = 64
"""Colors of a GIF that are kept for its color bars."""


@dataclass(frozen=True, eq=False)
class Movie:
    """The frames of a clip, each with its maps; headings, color bars and caption are drawn once."""

    rows: Sequence[Sequence[Panel]]  # the panels of every frame
    photos: UInt8[np.ndarray, "frames height width 3"]  # which lie under the maps
    corners: Sequence[Sequence[str]]  # the words in every panel of every frame; empty for nothing
    ranges: Ranges  # one for all frames
    look: Look
    caption: str  # words under the pictures
    times: Sequence[float] = ()  # of the frames, seconds
    fps: float = 1.0

    def pictures(self, frames: slice = slice(None)) -> Iterator[Picture]:
        """Yield the picture of every frame, or of some."""
        look = overlay_look(self.look)
        look = replace(look, dpi=max(50, round(SCREEN * look.dpi)))
        chosen = zip(self.rows[frames], self.photos[frames], self.corners[frames], strict=True)
        plate = None
        for row, photo, words in chosen:
            if plate is None:
                plate = Plate(
                    [row], self.ranges, look, [photo], caption=self.caption, corners=[words]
                )
            yield plate.show_frame(row, photo, words)

    @property
    def bar_colors(self) -> UInt8[np.ndarray, "colors 3"]:
        """Colors of the color bars, evenly spread."""
        levels = np.linspace(0, 1, BAR_COLORS // max(1, len(self.ranges)))
        bars = [color_map(quantity, self.look)(levels)[:, :3] for quantity in self.ranges]
        colors: np.ndarray = np.concatenate([np.zeros((0, 3)), *bars])
        found: np.ndarray = np.rint(colors * 255).astype(np.uint8)
        return found


def overlay_look(look: Look) -> Look:
    """Return the look of clips: maps lie over the gray frame unless a backdrop is asked for."""
    return replace(look, backdrop="gray") if look.backdrop == "none" else look
