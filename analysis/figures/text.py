"""How wide words are, before there is a figure to draw them in."""

from functools import lru_cache

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

LEAST_SIZE = 4.5  # points: smaller is not readable in print


@lru_cache(maxsize=4096)
def text_width(text: str, size: float, family: str) -> float:
    """Return the width of a line of text in inches; `size` is in points."""
    properties = FontProperties(family=family, size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(text, properties, ismath=False)
    return width / 72


def fit(text: str, size: float, family: str, room: float) -> tuple[str, float]:
    """Return a line and the font size at which it fits into `room` inches.

    It is set smaller if that is enough, else also cut, with an ellipsis.
    """
    wide = text_width(text, size, family)
    if wide <= room:
        return text, size
    smaller = max(LEAST_SIZE, size * room / wide)
    while len(text) > 1 and text_width(text, smaller, family) > room * 1.001:
        text = text.rstrip("…")[:-1] + "…"
        if text == "…":
            break
    return text, smaller


def wrap(text: str, size: float, family: str, room: float) -> list[str]:
    """Return a text in lines that fit into `room` inches, broken at spaces."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and text_width(longer, size, family) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
