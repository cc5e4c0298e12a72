"""How a token is called in a sentence."""

from nonlocal_lens.analysis.axis import Axis


def word_of(axis: Axis, index: int) -> str:
    """Return where a token of an axis is, in words; of one that lies nowhere, what it is called."""
    name = axis.name(index)
    if name is not None:
        return name
    x, y = axis.center(index)
    return f"x {x:.0f}, y {y:.0f}"


def cell_in_words(axis: Axis, index: int) -> str:
    """Return in which row and column a token of an axis is, or that it lies nowhere."""
    position = axis.cell(index)
    if position is None or axis.grid is None:
        return "off the picture"
    cell = axis.grid.cell(position)
    return f"row {cell.row}, column {cell.col}"
