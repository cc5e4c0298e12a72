"""What a figure shows: photographs, maps and class pictures, as arrays with their places."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from analysis import terms
from analysis.grid import Grid
from analysis.record import AttentionRecord
from analysis.streaming import query_chunks
from models.streets import STREET_CLASSES, VOID

Shown = Literal["input", "labels", "whole", "pairwise", "unary", "difference", "prediction"]
SHOWN: tuple[Shown, ...] = get_args(Shown)
"""What can stand in a column: `input` and `labels` once, the rest for every network."""

DEFAULT_SHOWN: tuple[Shown, ...] = ("input", "whole", "pairwise", "unary")
MAPS: tuple[Shown, ...] = ("whole", "pairwise", "unary", "difference")

Point = tuple[float, float]
Image = UInt8[np.ndarray, "height width 3"]
Classes = UInt8[np.ndarray, "height width"]


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


@dataclass(frozen=True, eq=False)
class PhotoPanel:
    """A photograph, or a picture of classes, with the query."""

    title: str
    group: str  # the heading over neighboring panels; empty for none
    picture: Image
    query: Point | None
    cell: tuple[float, float, float, float] | None  # of the query: x, y, width, height
    strongest: tuple[Point, ...] = ()  # where arrows point
    classes: tuple[int, ...] = ()  # that the picture shows, where it shows classes


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


Panel = PhotoPanel | MapPanel


@dataclass(frozen=True, eq=False)
class Scene:
    """One image with what networks made of it: all that a figure can show.

    Raises:
        ValueError: There is no network, or a record, a prediction or the labels belong to an image
            of another size.
    """

    image: Image
    records: Mapping[str, AttentionRecord]  # by the network's title
    predictions: Mapping[str, Classes]  # by the network's title; class indices
    labels: Classes | None = None  # class indices; the number of classes and above are void

    def __post_init__(self) -> None:
        size = self.image.shape[:2]
        if not self.records:
            raise ValueError("a figure needs at least one network's record, got none")
        for title, record in self.records.items():
            if record.query_grid.image_hw != size:
                raise ValueError(
                    f"the record of {title!r} must be of the image's size {size}, "
                    f"got {record.query_grid.image_hw}"
                )
        for name, classes in [("labels", self.labels), *self.predictions.items()]:
            if classes is not None and classes.shape != size:
                raise ValueError(
                    f"the classes of {name!r} must be of the image's size {size}, "
                    f"got {classes.shape}"
                )

    @property
    def grid(self) -> Grid:
        """The query grid of the first record: cells of queries are its."""
        return next(iter(self.records.values())).query_grid


def panel_rows(
    scene: Scene, queries: Sequence[Point], shown: Sequence[Shown], *, arrows: int = 0
) -> list[list[Panel]]:
    """Return a row of panels per query.

    Args:
        scene: The image and the networks' records of it.
        queries: Image points.
        shown: What stands in the columns: first what belongs to the image, in the order given, then
            the rest for one network after the other.
        arrows: How many of its strongest keys every panel knows. Those of the input are the first
            network's, by its whole attention.

    Raises:
        ValueError: Nothing or something unknown is to be shown, a point is outside the image, or
            labels or a prediction are asked for that are not there.
    """
    unknown = [name for name in shown if name not in SHOWN]
    if unknown or not shown or not queries:
        raise ValueError(
            f"a figure needs at least one query and one of {', '.join(SHOWN)}, got "
            f"{len(queries)} queries and {', '.join(map(repr, unknown or shown)) or 'no term'}"
        )
    columns: list[list[Panel]] = []
    for name in shown:
        if name == "input":
            first = next(iter(scene.records.values()))
            strongest = _strongest(first, _rows(first, _positions(first, queries), "whole"), arrows)
            columns.append(_photos(scene, queries, "input", "", scene.image, strongest))
        elif name == "labels":
            if scene.labels is None:
                raise ValueError("there are no labels to show for this image")
            columns.append(_class_pictures(scene, queries, "labels", "", scene.labels))
    for title, record in scene.records.items():
        positions = _positions(record, queries)
        for name in shown:
            if name in MAPS:
                columns.append(_maps(record, queries, positions, name, title, arrows))
            elif name == "prediction":
                if title not in scene.predictions:
                    raise ValueError(f"network {title!r} predicts no classes that could be shown")
                columns.append(
                    _class_pictures(scene, queries, name, title, scene.predictions[title])
                )
    return [list(row) for row in zip(*columns, strict=True)]


def _positions(record: AttentionRecord, queries: Sequence[Point]) -> list[int]:
    grid = record.query_grid
    return [grid.position(grid.cell_at(x=x, y=y)) for x, y in queries]


def _rows(
    record: AttentionRecord, positions: list[int], name: Shown
) -> Float[Tensor, "queries key_pos"]:
    """Return rows that do not depend, in their last bit, on what other queries are asked for."""
    term: terms.Term = "whole" if name == "difference" else name  # type: ignore[assignment]
    rows = torch.cat([terms.attention(record, [position], term) for position in positions])
    return rows - mean_row(record) if name == "difference" else rows


def mean_row(record: AttentionRecord) -> Float[Tensor, " key_pos"]:
    """Return the whole attention averaged over all queries, a chunk of queries at a time."""
    total = torch.zeros(record.key.shape[0], dtype=torch.float64)
    for chunk in query_chunks(record):
        total += terms.attention(record, chunk).sum(dim=0, dtype=torch.float64)
    return (total / record.query.shape[0]).to(record.query.dtype)


def _maps(
    record: AttentionRecord,
    queries: Sequence[Point],
    positions: list[int],
    name: Shown,
    title: str,
    arrows: int,
) -> list[Panel]:
    rows = _rows(record, positions, name)
    grid = record.key_grid
    if record.coupling == "unnormalized":
        quantity = LOGIT_DIFFERENCE if name == "difference" else LOGIT
    else:
        quantity = DIFFERENCE if name == "difference" else ATTENTION
    strongest = _strongest(record, rows, arrows)
    return [
        MapPanel(
            title=name,
            group=title,
            values=(row.numpy() * grid.positions).reshape(grid.height, grid.width),
            extent=grid.bounds,
            quantity=quantity,
            query=point,
            cell=cell_box(record.query_grid, point),
            strongest=ends,
        )
        for row, point, ends in zip(rows, queries, strongest, strict=True)
    ]


def _photos(
    scene: Scene,
    queries: Sequence[Point],
    title: str,
    group: str,
    picture: Image,
    strongest: list[tuple[Point, ...]],
    classes: tuple[int, ...] = (),
) -> list[Panel]:
    return [
        PhotoPanel(title, group, picture, point, cell_box(scene.grid, point), ends, classes)
        for point, ends in zip(queries, strongest, strict=True)
    ]


def _class_pictures(
    scene: Scene, queries: Sequence[Point], title: str, group: str, classes: Classes
) -> list[Panel]:
    present = np.unique(np.minimum(classes, VOID)).tolist()
    none: list[tuple[Point, ...]] = [()] * len(queries)
    return _photos(scene, queries, title, group, class_picture(classes), none, tuple(present))


def class_picture(classes: Classes) -> Image:
    """Return class indices in the classes' colors; void is black."""
    colors = np.array([*STREET_CLASSES.values(), (0, 0, 0)], np.uint8)
    picture: np.ndarray = colors[np.minimum(classes, VOID)]
    return picture


def _strongest(
    record: AttentionRecord, rows: Float[Tensor, "queries key_pos"], count: int
) -> list[tuple[Point, ...]]:
    grid = record.key_grid
    top = rows.topk(min(count, grid.positions), dim=1).indices.tolist()
    return [tuple(grid.center(grid.cell(position)) for position in row) for row in top]


def cell_box(grid: Grid, point: Point) -> tuple[float, float, float, float]:
    """Return (x, y, width, height), in pixels, of the cell under a point."""
    return grid.box(grid.cell_at(x=point[0], y=point[1]))
