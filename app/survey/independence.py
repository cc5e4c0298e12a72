"""Whether what is the same from everywhere is the same in every picture, too: in one sentence."""

from collections.abc import Mapping, Sequence
from html import escape

from nonlocal_lens.analysis.image_independence import UnaryMaps

Maps = Mapping[str, UnaryMaps | None]
"""Series -> its unary maps; None where pictures have grids of several sizes."""


def independence_sentences(maps: Maps, names: Sequence[str]) -> list[str]:
    """Return a sentence of HTML for every series whose unary map was measured.

    Args:
        maps: Of every series.
        names: The series to speak of, in this order.
    """
    known = [(name, maps[name]) for name in names if name in maps]
    return [said for name, one in known if (said := _sentence(name, one))]


def _sentence(name: str, maps: UnaryMaps | None) -> str:
    name = f"<b>{escape(name)}</b>"
    if maps is None:
        return (
            f"Whether the unary map of {name} is the same in every picture can only be told "
            "of pictures of one size."
        )
    share, low, high, chance, images = maps.independence()
    if share != share:
        return ""
    interval = f"95 % interval {low:.0%} to {high:.0%}; " if low == low else ""
    return (
        f"The unary map of {name} is to <b>{share:.0%}</b> the same whatever the picture "
        f"({interval}{chance:.0%} is chance, over {images} pictures)."
    )
