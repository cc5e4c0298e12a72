"""How a query is called on a page."""

from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.token_words import cell_in_words, word_of
from nonlocal_lens.app.viewer.view import Query


def place_of(record: AttentionRecord, query: int) -> str:
    """Return where a query is, in words; of one that lies nowhere, what it is called."""
    return word_of(record.query_axis, query)


def pinned_place(pin: Query) -> str:
    """Return what a pin is called, in the very words that the viewer has above its photo."""
    spot = pin.spot
    if pin.name:
        return pin.name
    if pin.category is not None:
        return f"all {pin.category}"
    if isinstance(spot, str):
        return spot
    x, y = map(int, spot)
    return f"{'region at ' if len(pin.points) > 1 else ''}x {x}, y {y}"


def middle_of(record: AttentionRecord) -> int:
    """Return the query in the middle of the picture, for when none is pinned."""
    axis = record.query_axis
    if axis.grid is None:
        return 0
    found = axis.at(axis.grid.height // 2 * axis.grid.width + axis.grid.width // 2)
    return axis.placed // 2 if found is None else found


def pinned_cell(pin: Query, record: AttentionRecord, query: int) -> str:
    """Return in which row and column a pin is, or how much of the picture it stands for."""
    if pin.category is not None:
        return "the mean of all cells that are predicted so"
    return ("" if pin.alone else "its middle: ") + cell_in_words(record.query_axis, query)


def tokens_in_words(axis: Axis) -> str:
    """Return how many tokens there are, on the grid and off the picture: "14 × 14 and 5 more"."""
    if axis.grid is None:
        return str(len(axis))
    on_grid = f"{axis.grid.height} × {axis.grid.width}"
    if axis.cells is not None:
        on_grid = f"{axis.placed} of {on_grid}"
    return f"{on_grid} and {len(axis.names)} off the picture" if axis.names else on_grid
