"""The picture of Wang et al. and Yin et al.: a row per query, a column per map."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.drawing import draw_backdrop, draw_marks, draw_picture, frame
from analysis.figures.look import Look
from analysis.figures.panels import (
    DEFAULT_SHOWN,
    Classes,
    Image,
    MapPanel,
    Panel,
    Point,
    Quantity,
    Scene,
    Shown,
    panel_rows,
)
from analysis.figures.plate import AnyFigure, Plate
from analysis.figures.scales import ColorRange, color_ranges, own_norm
from analysis.record import AttentionRecord

Records = AttentionRecord | Sequence[AttentionRecord] | Mapping[str, AttentionRecord]
Query = int | Point


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
    fig: AnyFigure | None = None,
    ax: Any = None,
) -> Figure:
    """Draw, for some queries, where blocks look from there.

    All maps of a quantity share one scale, in multiples of uniform attention, so that they compare
    across queries, terms and networks; `look.scale` has other choices, which the figure then says.
    Matplotlib's global settings and pyplot are neither read into the figure nor changed.

    Args:
        records: One block's record, several, or several by the title of their group of columns.
        queries: Points (x, y) in image pixels, or flat positions on the first record's query grid.
        image: The captured image; needed for `input` and for a backdrop.
        shown: What stands in the columns; by default the input, if there is an image, and the
            whole, the pairwise and the unary attention.
        predictions: The networks' predicted classes, by title; needed for `prediction`.
        labels: The image's true classes; needed for `labels`.
        look: How everything looks.
        caption: Words under the figure.
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
        sizes = [record.query_grid.image_hw for record in by_title.values()]
        image = np.zeros((*(sizes or [(1, 1)])[0], 3), np.uint8)
    scene = Scene(image, by_title, predictions or {}, labels)
    points = [_point(scene, query) for query in queries]
    rows = panel_rows(scene, points, shown, arrows=look.arrows)
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
    titles = [
        record.block if record.head is None else f"{record.block}, head {record.head}"
        for record in records
    ]
    if len(set(titles)) < len(titles):
        raise ValueError(
            f"records of equal blocks need titles: give a dictionary, got {', '.join(titles)}"
        )
    return dict(zip(titles, records, strict=True))


def _point(scene: Scene, query: Query) -> Point:
    if isinstance(query, int | np.integer):
        return scene.grid.center(scene.grid.cell(int(query)))
    x, y = query
    return float(x), float(y)


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
    figure = axes[0].get_figure(root=True)
    assert isinstance(figure, Figure)
    return figure
