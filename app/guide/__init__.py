"""What to look for: ten sights, each with its picture and the address where it is live."""

from pathlib import Path
from typing import NamedTuple

PICTURES = Path(__file__).parent


class Sight(NamedTuple):
    """Something worth seeing."""

    name: str  # of its picture
    title: str
    words: str  # what one sees and what it means, in two or three sentences
    page: str  # of the app; empty for Explore
    address: str  # what follows the question mark

    @property
    def picture(self) -> Path:
        """The file of its picture, drawn by `python -m docs.sights`."""
        return PICTURES / f"{self.name}.webp"

    @property
    def link(self) -> str:
        """Where it is live, seen from another page of the app."""
        return f"./{self.page}?{self.address}"


STREET = "picture=street-2000030"
POLE, ROAD = "1370-1200", "2400-3000"  # tenths of a pixel

SIGHTS = (
    Sight(
        "query-decides",
        "Attention that follows the query",
        "One pin on the lamp post, one on the road, and two different maps: the pairwise term "
        "changes with the pin. Compare the rows, not the colors within one map.",
        "",
        f"{STREET}&networks=streets-dnl&q={POLE}_{ROAD}&chosen=1",
    ),
    Sight(
        "same-from-everywhere",
        "The part that is the same from everywhere",
        "The unary term, at the right, of the same two pins: both maps are equal to the last cell. "
        "Whatever a network looks at here, it looks at wherever you point.",
        "",
        f"{STREET}&networks=streets-dnl&q={POLE}_{ROAD}&chosen=1&maps=pairwise-unary",
    ),
    Sight(
        "hardly-selective",
        "A map that is nearly flat",
        "The plain non-local network on a fixed scale: nine in ten cells get less than twice what "
        "uniform attention would give them, the brightest six times that. A share of next to "
        "nothing is next to nothing: read the bits before the percentage.",
        "",
        f"{STREET}&networks=streets-nl&q={POLE}&scale=fixed&fixed=10",
    ),
    Sight(
        "rescaled",
        "The same map, rescaled to itself",
        "What many papers print: every map stretched to its own range. It looks as sharp as any "
        "other. The scale says so where it is on; it is never on by itself.",
        "",
        f"{STREET}&networks=streets-nl&q={POLE}&scale=per-map",
    ),
    Sight(
        "two-networks",
        "Two networks under one cursor",
        "Non-local and disentangled non-local, and their difference: red where the first looks "
        "more, blue where the second does. One scale for both, and one cursor.",
        "compare",
        f"{STREET}&networks=streets-nl~streets-dnl&q={POLE}&difference=0-1",
    ),
    Sight(
        "no-query",
        "A block in which no query takes part",
        "Global context attention is the unary term alone: move the pin and nothing moves. This "
        "is what a degenerate non-local block amounts to, at a fraction of its cost.",
        "",
        f"{STREET}&networks=streets-gc&q={POLE}_{ROAD}&chosen=1",
    ),
    Sight(
        "where-it-matters",
        "Where it matters where you point",
        "The fifth map: bright where a query looks elsewhere than queries do on average, in bits. "
        "Its mean is the query information of the block.",
        "",
        f"{STREET}&networks=streets-dnl&q={POLE}&maps=whole-dependence",
    ),
    Sight(
        "who-looks-here",
        "Who looks here",
        "The other direction: not where the lamp post looks, but which places look at it. A place "
        "that is bright in every such map is a sink.",
        "",
        f"{STREET}&networks=streets-dnl&q={POLE}&direction=column",
    ),
    Sight(
        "strongest",
        "Where half of the attention lies",
        "Boxes around the five strongest keys, and contours around the fewest cells that hold "
        "half of the attention, solid, and 90 % of it, dashed. Wide contours around a bright "
        "spot: the spot is not the story.",
        "",
        f"{STREET}&networks=streets-dnl&q={POLE}&marks=boxes-5_contours",
    ),
    Sight(
        "out-of-domain",
        "A picture that the network was never shown",
        "A cat, seen by a network for streets. Its attention is real, the class names are not: "
        "the page says so. Never conclude from such a picture what a network does on its own.",
        "",
        "picture=sample-chelsea&networks=streets-dnl&q=2200-1300",
    ),
)
"""In the order in which they teach."""
