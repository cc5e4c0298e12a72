"""The picture of Wang et al. and Yin et al.: a row per query, a column per map."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nonlocal_lens.analysis.figures.drawing import (
    draw_backdrop,
    draw_corner,
    draw_marks,
    draw_picture,
    frame,
)
from nonlocal_lens.analysis.figures.look import Look
from nonlocal_lens.analysis.figures.panels import (
    DEFAULT_SHOWN,
    Image,
    MapPanel,
    Panel,
    Quantity,
    Shown,
    panel_rows,
)
from nonlocal_lens.analysis.figures.plate import AnyFigure, Plate
from nonlocal_lens.analysis.figures.queries import query_at
from nonlocal_lens.analysis.figures.scales import ColorRange, color_ranges, own_norm
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.scene import Classes, Point, Scene

Records = AttentionRecord | Sequence[AttentionRecord] | Mapping[str, AttentionRecord]
Query = int | Point | str


def attention_figure(
    records: Records,
    queries: Sequence[Query],
    *,
    image: Image | None = None,
    shown: Sequence[Shown] | None = None,
    predictions: Mapping[str, Classes] | None = None,
    labels: Classes | None = None,
    look: Look | None = None,
    caption: str = "",
    on_picture: bool = False,
    fig: AnyFigure | None = None,
    ax: Any = None,
) -> Figure:
    """Draw, for some queries, where blocks look from there.

    All maps of a quantity share one scale, in multiples of uniform attention, so that they compare
    across queries, terms and networks; `look.scale` has other choices, which the figure then says.
    Matplotlib's global settings and pyplot are neither read into the figure nor changed.

    Args:
        records: One block's record, several, or several by the title of their group of columns.
        queries: Points (x, y) in image pixels, names of tokens that are no places, or indices of
            the first record's query axis (of a whole grid its flat positions).
        image: The captured image; needed for `input` and for a backdrop.
        shown: What stands in the columns; by default the input, if there is an image, and the
            whole, the pairwise and the unary attention.
        predictions: The networks' predicted classes, by title; needed for `prediction`.
        labels: The image's true classes; needed for `labels`.
        look: How everything looks.
        caption: Words under the figure.
        on_picture: Whether maps are of what falls on the picture, divided by how much that is, and
            color bars say so. If not, rows are over all keys, and what lies on tokens that are no
            places stands under every map.
        fig: A figure or sub-figure to draw in, as large as it is; a new one if None.
        ax: Axes to draw in instead, one for each panel, row by row. Only pictures and marks are
            drawn; titles and color bars are the caller's.

    Returns:
        The figure that was drawn in. A new one's `savefig` embeds fonts and keeps text as text.

    Raises:
        ValueError: No record, no query or nothing to show, a query outside the image, a record of
            another image, `input` without an image, or too few or too many axes.
    """
    look = Look() if look is None else look
    by_title = _by_title(records)
    if shown is None:
        shown = DEFAULT_SHOWN if image is not None else DEFAULT_SHOWN[1:]
    if image is None:
        if "input" in shown or look.backdrop != "none":
            raise ValueError("image must be given to show the input or to lay it under the maps")
        grids = [(one.query_axis.grid, one.key_axis.grid) for one in by_title.values()]
        sizes = [grid.image_hw for sides in grids for grid in sides if grid is not None]
        image = np.zeros((*(sizes or [(1, 1)])[0], 3), np.uint8)
    scene = Scene.of_picture(image, by_title, predictions, labels, on_picture=on_picture)
    asked = [_asked(scene, query) for query in queries]
    rows = panel_rows(scene, asked, shown, arrows=look.arrows)
    ranges = color_ranges(maps_of(rows), look.scale)
    if ax is not None:
        return _draw_on(ax, rows, ranges, look, image)
    plate = Plate(rows, ranges, look, [image] * len(rows), figure=fig, caption=caption)
    figure = plate.figure.get_figure(root=True)
    assert isinstance(figure, Figure)
    return figure


def maps_of(rows: Sequence[Sequence[Panel]]) -> list[MapPanel]:
    """Return the maps among panels."""
    return [panel for row in rows for panel in row if isinstance(panel, MapPanel)]


def _by_title(records: Records) -> dict[str, AttentionRecord]:
    if isinstance(records, AttentionRecord):
        records = [records]
    if isinstance(records, Mapping):
        return dict(records)
    titles = [record.title for record in records]
    if len(set(titles)) < len(titles):
        raise ValueError(
            f"records of equal blocks need titles: give a dictionary, got {', '.join(titles)}"
        )
    return dict(zip(titles, records, strict=True))


def _asked(scene: Scene, query: Query) -> Point | str:
    if isinstance(query, int | np.integer):
        return query_at(scene.first.first.query_axis, int(query))
    if isinstance(query, str):
        return query
    x, y = query
    return float(x), float(y)


def _off_in_words(panel: MapPanel) -> str:
    """Return what lies off the picture as it fits into a corner: "41.0 % off the picture"."""
    shares = [token.share for token in panel.tokens]
    if any(share is None for share in shares):
        return f"and {len(shares)} tokens off the picture"
    return f"{100 * sum(share or 0.0 for share in shares):.1f} % off the picture"


def _draw_on(
    ax: Any,
    rows: list[list[Panel]],
    ranges: Mapping[Quantity, ColorRange],
    look: Look,
    image: Image,
) -> Figure:
    panels = [panel for row in rows for panel in row]
    axes: list[Axes] = np.asarray(ax, dtype=object).ravel().tolist()
    if len(axes) != len(panels):
        raise ValueError(
            f"{len(rows)} queries with {len(rows[0])} panels each need {len(panels)} axes, "
            f"got {len(axes)}"
        )
    for one, panel in zip(axes, panels, strict=True):
        norm = None
        pixels = round(one.bbox.width), round(one.bbox.height)
        if isinstance(panel, MapPanel):
            draw_backdrop(one, image, look, pixels)
            norm = ranges[panel.quantity].norm or own_norm(panel)
        draw_picture(one, panel, norm, look, pixels)
        frame(one, (image.shape[0], image.shape[1]))
        draw_marks(one, panel, look)
        if isinstance(panel, MapPanel) and panel.tokens:
            draw_corner(one, _off_in_words(panel), look)
    figure = axes[0].get_figure(root=True)
    assert isinstance(figure, Figure)
    return figure
