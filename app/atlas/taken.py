"""A wall of heads as files: figures with a note of how they were made, a page, a table."""

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from nonlocal_lens.analysis.atlas import MeasuredHead, heads_table
from nonlocal_lens.analysis.figures.atlas import Wall, atlas_figure
from nonlocal_lens.analysis.figures.files import PrintFigure
from nonlocal_lens.analysis.figures.look import Look
from nonlocal_lens.analysis.figures.scales import Scale
from nonlocal_lens.app import PRODUCT
from nonlocal_lens.app.atlas import payload
from nonlocal_lens.app.atlas.bundle import page
from nonlocal_lens.app.atlas.payload import Subject

SCALES = {"shared": "shared", "head": "per-map", "log": "log"}
"""What the wall calls a scale -> what figures call it."""

RANDOM = "random weights: nothing in it was learned"


def point_of(subject: Subject, view: Mapping[str, Any]) -> tuple[float, float]:
    """Return where the query is: where the view says, else in the middle of the first grid."""
    if view.get("query"):
        x, y = view["query"]
        return float(x), float(y)
    grid = subject.records[0].query_grid
    middle = (grid.height // 2) * grid.width + grid.width // 2
    return grid.center(grid.cell(middle))


def figure(
    subject: Subject,
    heads: Sequence[MeasuredHead],
    view: Mapping[str, Any],
    point: tuple[float, float],
    look: Look | None = None,
) -> PrintFigure:
    """Return the sheet of a wall as it is arranged; filters and redundancy marks do not hide."""
    choices = {name: view[name] for name in ("statistic", "order", "grouped") if name in view}
    wall = Wall(**choices, shown=view.get("map", "whole"))
    scale = Scale.parse(SCALES[view.get("scale", "shared")])
    look = look or Look(width_in=10.0, scale=scale, colormap="viridis", dpi=200)
    title = title_of(subject) + (f" ({RANDOM})" if subject.random else "")
    said = "" if subject.means is None else subject.means.said
    return atlas_figure(heads, subject.picture, point, title=title, said=said, wall=wall, look=look)


def title_of(subject: Subject) -> str:
    """Return what a wall is of: a network, on a picture or on several."""
    on = subject.name if subject.means is None else subject.means.counted
    return f"{subject.title} on {on}"


def note_of(subject: Subject, view: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file says of how it was made."""
    return {
        "program": PRODUCT,
        "network": {"title": subject.title, "sha256": subject.sha256, "random": subject.random},
        "picture": subject.name,
        **({} if subject.means is None else {"means": subject.means.note()}),
        "wall": payload.wall_id(subject),
        "view": {name: value for name, value in view.items() if name != "picked"},
    }


def figure_file(
    subject: Subject,
    heads: Sequence[MeasuredHead],
    view: Mapping[str, Any],
    point: tuple[float, float],
    kind: str,
) -> bytes:
    """Return the sheet as PNG, SVG or PDF with its note."""
    return figure(subject, heads, view, point).file(kind, note=note_of(subject, view))


def html_page(subject: Subject, buffers: Sequence[bytes], view: Mapping[str, Any]) -> bytes:
    """Return the wall as a page of its own.

    Args:
        subject: What is shown.
        buffers: The first part and all others.
        view: What it opens with.
    """
    first, *others = buffers
    about = [f"{subject.title} · sha256 {subject.sha256}" if subject.sha256 else subject.title]
    about += [RANDOM.capitalize()] if subject.random else []
    if subject.means is not None:
        about += [f"Means over {subject.means.counted}: {subject.means.named}"]
    note = html.escape(json.dumps(note_of(subject, view)), quote=True)
    return page(
        payload.together(payload.with_view(first, dict(view)), others),
        title=f"All heads of {title_of(subject)}",
        about=[*about, PRODUCT],
        meta=f'<meta name="nonlocal-lens" content="{note}">',
    )


def table_csv(subject: Subject, heads: Sequence[MeasuredHead]) -> bytes:
    """Return a row for every head, before it the network and the picture, or how many these are."""
    table = heads_table(heads)
    table.insert(0, "network", subject.title)
    if subject.means is None:
        table.insert(1, "picture", subject.name)
    else:
        table.insert(1, "pictures", subject.means.pictures)
    return table.to_csv(index=False).encode()
