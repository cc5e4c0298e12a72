"""What a figure shows: photographs, maps and class pictures, as arrays with their places."""

from collections.abc import Sequence
from colorsys import hsv_to_rgb
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.labels import value_name
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.scene import Classes, Place, Point, Query, Records, Scene
from nonlocal_lens.analysis.some_keys import ON_PICTURE
from nonlocal_lens.analysis.streaming import query_chunks
from nonlocal_lens.analysis.strongest import strongest
from nonlocal_lens.models.limits import shortened
from nonlocal_lens.streets.classes import STREET_CLASSES, VOID

Shown = Literal["input", "labels", "whole", "pairwise", "unary", "difference", "prediction"]
SHOWN: tuple[Shown, ...] = get_args(Shown)
"""What can stand in a column: `input` and `labels` once, the rest for every network."""

DEFAULT_SHOWN: tuple[Shown, ...] = ("input", "whole", "pairwise", "unary")
MAPS: tuple[Shown, ...] = ("whole", "pairwise", "unary", "difference")

Image = UInt8[np.ndarray, "height width 3"]


class Shade(NamedTuple):
    """How a class is drawn."""

    value: int
    name: str
    color: tuple[int, int, int]


class Quantity(NamedTuple):
    """What the values of a map are: maps of one quantity share a scale."""

    name: str
    label: str  # of the color bar, with the unit
    signed: bool
    least_top: float  # a shared scale reaches at least this far: nearly uniform maps look flat


ATTENTION = Quantity("attention", "attention (multiples of uniform)", False, 3.0)
DIFFERENCE = Quantity(
    "difference", "difference from the mean row (multiples of uniform)", True, 1.0
)
LOGIT = Quantity("logit", "logit (no softmax: weight times number of keys)", True, 1e-6)
LOGIT_DIFFERENCE = Quantity(
    "logit-difference", "difference from the mean row (logits, no softmax)", True, 1e-6
)


class TokenValue(NamedTuple):
    """What a map's row has on a key that is no place of the image."""

    name: str
    value: float  # in the unit of the map
    share: float | None  # of the whole row, 0 to 1; None where rows have no shares


@dataclass(frozen=True, eq=False)
class PhotoPanel:
    """A photograph, or a picture of classes, with the query."""

    title: str
    group: str  # the heading over neighboring panels; empty for none
    picture: Image
    query: Point | None
    cell: tuple[float, float, float, float] | None  # of the query: x, y, width, height
    strongest: tuple[Point, ...] = ()  # where arrows point
    classes: tuple[Shade, ...] = ()  # that the picture shows, where it shows classes
    token: str = ""  # what the query is called where it is no place


@dataclass(frozen=True, eq=False)
class MapPanel:
    """One map of one query."""

    title: str
    group: str
    values: Float[np.ndarray, "rows cols"]
    extent: tuple[float, float, float, float]  # left, top, right, bottom on the image, in pixels
    quantity: Quantity
    query: Point | None
    cell: tuple[float, float, float, float] | None
    strongest: tuple[Point, ...] = ()
    token: str = ""  # what the query is called where it is no place
    tokens: tuple[TokenValue, ...] = ()  # what of the row lies off the picture
    missing: Bool[np.ndarray, "rows cols"] | None = None  # cells that are no token; None: none is


Panel = PhotoPanel | MapPanel


def panel_rows(
    scene: Scene, queries: Sequence[Query], shown: Sequence[Shown], *, arrows: int = 0
) -> list[list[Panel]]:
    """Return a row of panels per query.

    Args:
        scene: The image and the networks' records of it.
        queries: Image points, or names of tokens that are no places.
        shown: What stands in the columns: first what belongs to the image, in the order given, then
            the rest for one network after the other.
        arrows: How many of its strongest keys every panel knows. Those of the input are the first
            network's, by its whole attention.

    Raises:
        ValueError: Nothing or something unknown is to be shown, a point is outside the image, or
            labels or a prediction are asked for that are not there.
    """
    if not queries:
        _check_shown(shown, 0)
    places = [Place.of(query) for query in queries]
    return [row for place in places for row in frame_rows(scene, place, shown, arrows=arrows)]


def frame_rows(
    scene: Scene, place: Place, shown: Sequence[Shown], *, arrows: int = 0
) -> list[list[Panel]]:
    """Return a row of panels per frame, with the maps of one query; see `panel_rows`.

    The query is marked in the frame that it is in: of a network that looks at images, which has a
    row in every frame, in all of them. Where there is no map, because a tracked query is lost or
    the query does not look at the frame, the photograph stands without its colors.
    """
    _check_shown(shown, 1)
    path = scene.path(place)
    columns: list[list[Panel]] = []
    for name in shown:
        if name == "input":
            columns.append(_photos(scene, place, path, arrows))
        elif name == "labels":
            if scene.labels is None:
                raise ValueError("there are no labels to show for this image")
            columns.append(_class_pictures(scene, place, path, "labels", "", scene.labels))
    for title, over in scene.records.items():
        for name in shown:
            if name in MAPS:
                columns.append(_maps(scene, over, place, path, name, title, arrows))
            elif name == "prediction":
                if title not in scene.predictions:
                    raise ValueError(f"network {title!r} predicts no classes that could be shown")
                classes = scene.predictions[title]
                columns.append(_class_pictures(scene, place, path, name, title, classes))
    return [list(row) for row in zip(*columns, strict=True)]


def _check_shown(shown: Sequence[Shown], queries: int) -> None:
    unknown = [name for name in shown if name not in SHOWN]
    if unknown or not shown or not queries:
        raise ValueError(
            f"a figure needs at least one query and one of {', '.join(SHOWN)}, got "
            f"{queries} queries and {', '.join(map(repr, unknown or shown)) or 'no term'}"
        )


def _row(
    scene: Scene, record: AttentionRecord, query: int, name: Shown
) -> Float[Tensor, " key_pos"]:
    term: terms.Term = "whole" if name == "difference" else name  # type: ignore[assignment]
    viewed = scene.viewed(record)
    row = terms.attention(viewed, [query], term)[0]
    return row - scene.kept(viewed, mean_row) if name == "difference" else row


def mean_row(record: AttentionRecord) -> Float[Tensor, " key_pos"]:
    """Return the whole attention averaged over the queries that count, a chunk at a time."""
    total = torch.zeros(record.key.shape[0], dtype=torch.float64)
    for chunk in query_chunks(record):
        total += terms.attention(record, chunk).sum(dim=0, dtype=torch.float64)
    return (total / record.query_axis.counting).to(record.query.dtype)


def _maps(
    scene: Scene,
    over: Records,
    place: Place,
    path: list[Point | None],
    name: Shown,
    title: str,
    arrows: int,
) -> list[Panel]:
    signed = over.first.signed
    if name == "difference":
        quantity = LOGIT_DIFFERENCE if signed else DIFFERENCE
    else:
        quantity = LOGIT if signed else ATTENTION
    if scene.on_picture and over.first.key_axis.names:
        quantity = quantity._replace(label=f"{quantity.label}, {ON_PICTURE}")
    if over.of_clips:
        record, query = over.query(place)
        row = _row(scene, record, query, name)
    column: list[Panel] = []
    for frame, point in enumerate(path):
        at: int | None = None
        if over.of_clips:
            at = over.key_frame(record, frame)
            point = place.point if frame == place.frame else None
        elif point is not None:
            record, query = over.query(Place(frame, *point, place.token))
            row, at = _row(scene, record, query, name), 0
            point = None if place.token else point
        if at is None:
            column.append(PhotoPanel(name, title, scene.grays[frame], None, None))
            continue
        keys = scene.viewed(record).key_axis
        if keys.grid is None or not keys.placed:
            raise ValueError(
                f"the keys of {title} are no places of the image, but tokens "
                f"({shortened(', '.join(keys.names), 80)}): there is no map to draw"
            )
        values = keys.on_grid(row * len(keys)).numpy().reshape(keys.grid.shape)
        missing = None
        if keys.cells is not None:
            missing = np.ones(keys.grid.positions, bool)
            missing[keys.all_cells] = False
            missing = missing.reshape(keys.grid.shape)[at]
        column.append(
            MapPanel(
                title=name,
                group=title,
                values=values[at],
                extent=keys.grid.bounds,
                quantity=quantity,
                query=point,
                cell=point and cell_box(record.query_grid, point),
                strongest=_strongest(keys, row, arrows),
                token=place.token if frame == place.frame or not over.of_clips else "",
                tokens=_off_picture(keys, row, name),
                missing=missing,
            )
        )
    return column


def _off_picture(axis: Axis, row: Float[Tensor, " key_pos"], name: Shown) -> tuple[TokenValue, ...]:
    """Return what a row has on keys that are no places."""
    has_shares = name != "difference" and not bool((row < 0).any())
    shares = row / row.sum() if has_shares else row
    values = (row * len(axis))[axis.placed :].tolist()
    of_row = shares[axis.placed :].tolist() if has_shares else [None] * len(values)
    return tuple(map(TokenValue, axis.names, values, of_row))


def _photos(scene: Scene, place: Place, path: list[Point | None], arrows: int) -> list[Panel]:
    still = any(not over.of_clips for over in scene.records.values())
    column: list[Panel] = []
    for frame, point in enumerate(path):
        ends: tuple[Point, ...] = ()
        if not still and frame != place.frame:
            point = None
        token = place.token if point is not None else ""
        point = None if token else point
        if arrows and point is not None:
            record, query = scene.first.query(Place(frame, *point))
            row = _row(scene, record, query, "whole")
            ends = _strongest(scene.viewed(record).key_axis, row, arrows)
        cell = point and cell_box(scene.grid, point)
        column.append(PhotoPanel("input", "", scene.frames[frame], point, cell, ends, token=token))
    return column


def _class_pictures(
    scene: Scene,
    place: Place,
    path: list[Point | None],
    title: str,
    group: str,
    classes: Classes,
) -> list[Panel]:
    shades = shades_of(classes)
    picture = scene.kept(classes, class_picture)  # one object: a plate draws it once
    if place.token:
        return [
            PhotoPanel(title, group, picture, None, None, (), shades, place.token) for _ in path
        ]
    return [
        PhotoPanel(title, group, picture, point, point and cell_box(scene.grid, point), (), shades)
        for point in path
    ]


def shades_of(classes: Classes) -> tuple[Shade, ...]:
    """Return the classes that are there.

    Unsigned values are those of streets, and void from `VOID` on. Signed ones are the labels of any
    data set (see `analysis.labels`), negative where void: they are called streets if none is
    beyond those, and else have a color for each value; labels that are colors keep them.
    """
    values = np.unique(classes).tolist()
    if _are_streets(classes):
        present = sorted({value if 0 <= value < VOID else VOID for value in values})
        names = [*STREET_CLASSES.items(), ("void", (0, 0, 0))]
        return tuple(Shade(index, *names[index]) for index in present)
    colored = values[-1] > 0xFFFF
    return tuple(
        Shade(value, value_name(value, colored), _color_of(value, colored))
        if value >= 0
        else Shade(value, "void", (0, 0, 0))
        for value in values
    )


def _color_of(value: int, colored: bool) -> tuple[int, int, int]:
    if colored:
        return value >> 16 & 255, value >> 8 & 255, value & 255
    if value == 0:  # most often the background
        return 150, 150, 150
    turn = value * 0.618034 % 1  # neighbors differ
    red, green, blue = hsv_to_rgb(turn, 0.75 if value % 2 else 0.5, 0.95 if value % 3 else 0.7)
    return round(red * 255), round(green * 255), round(blue * 255)


def class_picture(classes: Classes) -> Image:
    """Return class indices in the classes' colors; void is black."""
    shades = shades_of(classes)
    colors = np.array([shade.color for shade in shades], np.uint8)
    values = [shade.value for shade in shades]
    held = classes
    if _are_streets(classes):
        held = np.where((classes < 0) | (classes > VOID), VOID, classes)
    picture: np.ndarray = colors[np.searchsorted(values, held)]
    return picture


def _are_streets(classes: Classes) -> bool:
    """Return whether values are those of `streets.classes`, not of any data set's labels."""
    return classes.dtype.kind == "u" or bool(classes.max() < VOID)


def _strongest(axis: Axis, row: Float[Tensor, " key_pos"], count: int) -> tuple[Point, ...]:
    if not count:
        return ()
    return tuple(axis.center(index) for index in strongest(row[: axis.placed], count))


def cell_box(grid: Grid, point: Point) -> tuple[float, float, float, float]:
    """Return (x, y, width, height), in pixels, of the cell under a point."""
    return grid.box(grid.cell_at(x=point[0], y=point[1]))
