"""How a query is called on a page."""

from analysis.record import AttentionRecord


def place_of(record: AttentionRecord, query: int) -> str:
    """Return where a query is, in words."""
    x, y = record.query_grid.center(record.query_grid.cell(query))
    return f"x {x:.0f}, y {y:.0f}"


def middle_of(record: AttentionRecord) -> int:
    """Return the query in the middle of the picture, for when none is pinned."""
    grid = record.query_grid
    return grid.height // 2 * grid.width + grid.width // 2
