"""The strip beside a map: what of its row lies on tokens that are no places, a line for each.

A square has the color that the token's value has on the map's scale; its name and its share of the
row stand beside it. Nothing is left out: of more tokens than there is room for, the last line tells
what all others have together.
"""

from collections.abc import Sequence
from math import isfinite

from matplotlib.artist import Artist
from matplotlib.colors import Normalize
from matplotlib.figure import FigureBase
from matplotlib.patches import Rectangle

from nonlocal_lens.analysis.figures.drawing import LINE, color_map
from nonlocal_lens.analysis.figures.layout import Box
from nonlocal_lens.analysis.figures.look import SMALL, Look
from nonlocal_lens.analysis.figures.panels import MapPanel, Panel, TokenValue
from nonlocal_lens.analysis.figures.text import fit, text_width

MOST_LINES = 6
"""Lines under one map."""

LINE_HEIGHT = 1.15
"""Of a line, in text sizes."""

MARGIN = 0.3
"""Between a map and the first line, in text sizes."""


def token_lines(panels: Sequence[Panel]) -> int:
    """Return how many lines the panels of a figure need under them."""
    counts = [len(panel.tokens) for panel in panels if isinstance(panel, MapPanel)]
    return min(max(counts, default=0), MOST_LINES)


def lines_height(lines: int, em: float) -> float:
    """Return the height of some lines, in the unit of the text size."""
    return (MARGIN + LINE_HEIGHT * lines) * em if lines else 0.0


def draw_token_lines(
    figure: FigureBase,
    size: tuple[float, float],
    box: Box,
    panel: Panel,
    norm: Normalize | None,
    look: Look,
) -> list[Artist]:
    """Draw the lines of a panel from the top of a box on, as wide as it is.

    Args:
        figure: What to draw in.
        size: Its width and height, inches.
        box: Where, in inches from the top left.
        panel: Whose tokens; photographs have none.
        norm: What the map's colors mean.
        look: How it looks.
    """
    if not isinstance(panel, MapPanel) or not panel.tokens or norm is None:
        return []
    em, family = look.sheet.font_size / 72, look.family
    small = SMALL * look.sheet.font_size
    colors, artists = color_map(panel.quantity, look), list[Artist]()

    def write(x: float, y: float, words: str, points: float, align: str) -> Artist:
        return figure.text(
            x / size[0],
            1 - y / size[1],
            words,
            fontsize=points,
            family=family,
            color=look.sheet.ink,
            ha=align,
            va="center",
            parse_math=False,  # names of tokens may hold a dollar sign
        )

    lines = shown_lines(panel.tokens)
    amounts = [_amount(token) for token in lines]
    side = 0.72 * em
    room = box.width - side - 0.3 * em
    widest = max(text_width(words, small, family) for words in amounts)
    points = small if widest < 0.55 * room else small * 0.55 * room / widest
    room -= min(widest, 0.55 * room) + 0.3 * em
    for number, (token, amount) in enumerate(zip(lines, amounts, strict=True)):
        y = box.y + (MARGIN + LINE_HEIGHT * (number + 0.5)) * em
        if isfinite(token.value):
            swatch = Rectangle(
                (box.x / size[0], 1 - (y + side / 2) / size[1]),
                side / size[0],
                side / size[1],
                transform=figure.transSubfigure,  # type: ignore[attr-defined]  # all figures have it
                facecolor=colors(norm(token.value)),
                edgecolor=look.sheet.faint,
                linewidth=LINE * look.sheet.font_size,
            )
            artists.append(figure.add_artist(swatch))
        name, name_points = fit(token.name, points, family, room)
        artists.append(write(box.x + side + 0.3 * em, y, name, name_points, "left"))
        artists.append(write(box.x + box.width, y, amount, points, "right"))
    return artists


def shown_lines(tokens: Sequence[TokenValue]) -> list[TokenValue]:
    """Return a line for every token or, of too many, those that have most and one for the rest."""
    if len(tokens) <= MOST_LINES:
        return [*tokens]
    ranked = sorted(tokens, key=lambda token: -abs(token.value))
    kept, rest = ranked[: MOST_LINES - 1], ranked[MOST_LINES - 1 :]
    share = None if rest[0].share is None else sum(token.share or 0.0 for token in rest)
    return [*kept, TokenValue(f"{len(rest)} more", float("nan"), share)]


def _amount(token: TokenValue) -> str:
    if token.share is not None:
        return f"{100 * token.share:.1f} %"
    if not isfinite(token.value):
        return ""
    return f"{token.value:.2g}".replace("-", "\N{MINUS SIGN}")
