"""The sheet of Cao et al. 2019 (GCNet, Figure 1): a row per image, a column per query.

Side by side, the maps of one image's queries show at a glance whether the query matters.
"""

from collections.abc import Sequence
from dataclasses import replace

from nonlocal_lens.analysis.figures.panels import MapPanel, Panel, PhotoPanel


def sheet_row(rows: Sequence[Sequence[Panel]]) -> list[Panel]:
    """Return the row of one image: its photographs, then every map for one query after the other.

    Args:
        rows: The image's panels, a row per query, as `panel_rows` returns them.
    """
    row: list[Panel] = []
    for column in zip(*rows, strict=True):
        first = column[0]
        if isinstance(first, PhotoPanel):
            row.append(replace(first, query=None, strongest=(), token=""))
            continue
        for number, panel in enumerate(column, start=1):
            assert isinstance(panel, MapPanel)
            heading = f"{panel.group}, {panel.title}"
            row.append(replace(panel, group=heading, title=f"query {number}"))
    return row


def sheet_rows(panels: Sequence[Sequence[Sequence[Panel]]]) -> list[list[Panel]]:
    """Return a row per image.

    Args:
        panels: For each image what `panel_rows` returned.

    Raises:
        ValueError: Images have different numbers of queries.
    """
    counts = sorted({len(rows) for rows in panels})
    if len(counts) != 1:
        raise ValueError(
            "all images of a sheet must have equally many queries, got "
            f"{' and '.join(map(str, counts))}"
        )
    return [sheet_row(rows) for rows in panels]
