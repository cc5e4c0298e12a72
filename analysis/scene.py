"""What networks made of the frames of an input. A picture is a clip of one frame."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import nan
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8

from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.runs import runs
from nonlocal_lens.analysis.some_keys import on_picture
from nonlocal_lens.analysis.tracking import CellFlow, cell_flow
from nonlocal_lens.models.blocks import Reach

Point = tuple[float, float]
"""An image point x, y in pixels."""

Query = Point | str
"""A query: an image point, or the name of a token that is no place of the image."""

T = TypeVar("T")
Made = TypeVar("Made")

Classes = Integer[np.ndarray, "height width"]


class Place(NamedTuple):
    """A query: a point of one frame, or a token that is no place."""

    frame: int  # of the frames that are looked at, counted from 0; 0 in a picture
    x: float  # image pixels; NaN of a token
    y: float
    token: str = ""  # what the token is called

    @classmethod
    def of(cls, query: Query, frame: int = 0) -> "Place":
        """Return a query of some frame."""
        return cls(frame, nan, nan, query) if isinstance(query, str) else cls(frame, *query)

    @property
    def query(self) -> Query:
        """The point, or what the token is called."""
        return self.token or (self.x, self.y)

    @property
    def point(self) -> Point | None:
        """The point; None of a token."""
        return None if self.token else (self.x, self.y)

    @property
    def words(self) -> str:
        """The query in words: "x 20, y 15", "class"."""
        return self.token or f"x {self.x:.0f}, y {self.y:.0f}"


class Placed(NamedTuple):
    """Where the queries of one frame are: in which record, and in which frame of its grid."""

    record: AttentionRecord
    frame: int


@dataclass(frozen=True, eq=False)
class Records:
    """What one block, or one head of it, did over the frames of an input.

    A network that looks at images has a record for every frame. One that looks at clips has one
    record of all frames or, where its block sees a group of frames at a time, one of every group.

    Raises:
        ValueError: There are not as many records as frames of a network that looks at images.
    """

    frames: int  # of the input
    records: tuple[AttentionRecord, ...]
    of_clips: bool  # whether the network looks at clips: it knows, no shape of a record does

    def __post_init__(self) -> None:
        if not self.records or not (self.of_clips or len(self.records) == self.frames):
            raise ValueError(
                f"{self.frames} frames need a record each, or one of all of them, "
                f"got {len(self.records)}"
            )

    @property
    def first(self) -> AttentionRecord:
        """The first record, which says what block this is."""
        return self.records[0]

    @property
    def shown_frames(self) -> list[int]:
        """The frame in the middle of those that each frame of the query grids stands for."""
        if not self.of_clips:
            return list(range(self.frames))
        return [
            middle_frame(record.query_grid, frame, self.frames)
            for record in self.records
            for frame in range(record.query_grid.frames)
        ]

    def at(self, frame: int) -> Placed:
        """Return the record that a frame of the input is in, and its frame of the query grid.

        Raises:
            ValueError: The block did not look at this frame.
        """
        if not self.of_clips:
            return Placed(self.records[frame], 0)
        for record in self.records:
            found = record.query_grid.frame_at(frame, self.frames)
            if found is not None:
                return Placed(record, found)
        raise ValueError(
            f"block {self.first.block!r} did not look at frame {frame} of {self.frames}"
        )

    def query(self, place: Place) -> tuple[AttentionRecord, int]:
        """Return the record that a query is in, and its index there.

        Raises:
            ValueError: The place lies outside the image, under no token, or in a frame that was not
                looked at; or no token has that name.
        """
        record, at = self.at(place.frame)
        axis = record.query_axis
        if place.token:
            return record, axis.index(place.token)
        return record, axis.under(place.x, place.y, at)

    def key_frame(self, record: AttentionRecord, frame: int) -> int | None:
        """Return the frame of a record's keys that a frame of the input is in; None for none."""
        if not self.of_clips:
            return 0 if record is self.records[frame] else None
        return record.key_grid.frame_at(frame, self.frames)

    def joined(self) -> AttentionRecord:
        """Return one record of all frames, in which a query reaches the keys of its group only.

        Raises:
            ValueError: The network looks at images, or attention within groups has no softmax.
        """
        if not self.of_clips:
            raise ValueError("a network that looks at images has no record of all frames")
        if len(self.records) == 1:
            return self.first
        groups = torch.arange(len(self.records))[:, None]
        of_queries, of_keys = (
            groups.repeat_interleave(torch.tensor(positions), dim=0)
            for positions in (
                [len(record.query) for record in self.records],
                [len(record.key) for record in self.records],
            )
        )
        unary, norms, values = (
            [x for record in self.records if (x := getattr(record, name)) is not None]
            for name in ("unary", "value_norm", "value")
        )
        axes = [axis for one in self.records for axis in (one.query_axis, one.key_axis)]
        if not all(axis.is_whole_grid for axis in axes):
            raise ValueError(
                f"the groups of block {self.first.block!r} have tokens that are no places, or not "
                "all places: they cannot be joined to one record"
            )
        return replace(
            self.first,
            query=torch.cat([record.query for record in self.records]),
            key=torch.cat([record.key for record in self.records]),
            unary=torch.cat(unary) if unary else None,
            value_norm=torch.cat(norms) if len(norms) == len(self.records) else None,
            value=torch.cat(values) if len(values) == len(self.records) else None,
            query_grid=_together([record.query_grid for record in self.records]),
            key_grid=_together([record.key_grid for record in self.records]),
            reach=Reach("group of frames", of_queries, of_keys),
        )


@dataclass(frozen=True, eq=False)
class Scene:
    """An input with what networks made of it: all that a figure can show.

    Raises:
        ValueError: There is no network, or a record, a prediction or the labels belong to an image
            of another size, or a network's records to another number of frames.
    """

    frames: UInt8[np.ndarray, "frames height width 3"]
    times: Float[np.ndarray, " frames"] | None  # seconds; None of a picture
    records: Mapping[str, Records]  # by the network's title
    predictions: Mapping[str, Classes] = field(default_factory=dict)  # of a picture, by title
    labels: Classes | None = None  # of a picture
    flow: CellFlow | None = None  # where queries follow what moves
    on_picture: bool = False  # whether maps are of what falls on the picture, and say so
    _kept: dict[tuple[int, str], Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        size = self.frames.shape[1:3]
        if not self.records:
            raise ValueError("a figure needs at least one network's record, got none")
        for title, over in self.records.items():
            if over.frames != len(self.frames):
                raise ValueError(
                    f"the records of {title!r} must be of {len(self.frames)} frames, got "
                    f"{over.frames}"
                )
            for record in over.records:
                for grid in (record.query_axis.grid, record.key_axis.grid):
                    if grid is not None and grid.image_hw != size:
                        raise ValueError(
                            f"the record of {title!r} must be of the image's size {size}, "
                            f"got {grid.image_hw}"
                        )
        for name, classes in [("labels", self.labels), *self.predictions.items()]:
            if classes is not None and classes.shape != size:
                raise ValueError(
                    f"the classes of {name!r} must be of the image's size {size}, "
                    f"got {classes.shape}"
                )

    @classmethod
    def of_picture(
        cls,
        image: UInt8[np.ndarray, "height width 3"],
        records: Mapping[str, AttentionRecord],
        predictions: Mapping[str, Classes] | None = None,
        labels: Classes | None = None,
        *,
        on_picture: bool = False,
    ) -> "Scene":
        """Return the scene of one picture, with one record of every network."""
        over = {title: Records(1, (record,), of_clips=False) for title, record in records.items()}
        return cls(image[None], None, over, predictions or {}, labels, on_picture=on_picture)

    def viewed(self, record: AttentionRecord) -> AttentionRecord:
        """Return the record that maps are drawn of: that of what falls on the picture, if asked."""
        return self.kept(record, on_picture) if self.on_picture else record

    @property
    def is_clip(self) -> bool:
        """Whether it was read as a clip, of however many frames."""
        return self.times is not None

    @property
    def first(self) -> Records:
        """What the first network did: cells of queries are of its grid."""
        return next(iter(self.records.values()))

    @property
    def grid(self) -> Grid:
        """The query grid of the first record."""
        return self.first.first.query_grid

    def path(self, place: Place) -> list[Point | None]:
        """Return where a query is in every frame: where it stays, or None where it is lost.

        A token that is no place is at (NaN, NaN) in all of them.
        """
        if self.flow is None or place.token:
            return [(place.x, place.y)] * len(self.frames)
        return list(self.flow.follow(place.x, place.y, place.frame))

    def kept(self, part: T, make: Callable[[T], Made]) -> Made:
        """Return what is made of a part of the scene, made once."""
        key = id(part), make.__name__
        if key not in self._kept:
            self._kept[key] = make(part)
        made: Made = self._kept[key]
        return made

    @cached_property
    def grays(self) -> UInt8[np.ndarray, "frames height width 3"]:
        """The frames without their colors."""
        weights = np.array([0.299, 0.587, 0.114], np.float32)
        gray = np.rint(self.frames.astype(np.float32) @ weights).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=3)


def flow_of(
    frames: UInt8[np.ndarray, "frames height width 3"], records: Mapping[str, Records]
) -> CellFlow | None:
    """Return how the cells of the first network that looks at images move; None if none does."""
    images = [
        over
        for over in records.values()
        if not over.of_clips and over.first.query_axis.grid is not None
    ]
    return cell_flow(frames, images[0].first.query_grid) if images else None


def records_over(
    passes: Sequence[Sequence[AttentionRecord]],
    frames: int,
    *,
    of_clips: bool,
    block: str | None = None,
    head: int | None = None,
    call: int | None = None,
) -> Records:
    """Return what a block and head did over an input: the first there are where these are None.

    Args:
        passes: The records of all blocks: of the whole input, or one after the other of each frame.
        frames: Of the input.
        of_clips: Whether the network looks at clips.
        block: Name of a block.
        head: Number of a head.
        call: Which run of the block on an input, from 0.

    Raises:
        ValueError: There is no such block, head or run.
    """
    chosen = [choose_record(records, block, head, call) for records in passes]
    if of_clips:
        (records,) = passes
        (first,) = chosen
        chosen = groups_of(records, first)
    return Records(frames, tuple(chosen), of_clips)


def groups_of(records: Sequence[AttentionRecord], first: AttentionRecord) -> list[AttentionRecord]:
    """Return the records of all groups of frames that the block and head of one saw in its run."""
    of_run = dict(zip(map(id, records), runs(records), strict=True))
    chosen = first.block, first.head, of_run[id(first)]
    return [one for one in records if (one.block, one.head, of_run[id(one)]) == chosen]


def choose_record(
    records: Sequence[AttentionRecord],
    block: str | None,
    head: int | None,
    call: int | None = None,
) -> AttentionRecord:
    """Return the first record of a block, head and run; of any of them where that is None.

    Raises:
        ValueError: There is none.
    """
    found = [
        record
        for record in records
        if (block is None or record.block == block)
        and (head is None or record.head == head)
        and (call is None or record.call == call)
    ]
    if not found:
        there = dict.fromkeys(
            record.block
            + (f" call {record.call}" if record.call else "")
            + ("" if record.head is None else f" head {record.head}")
            for record in records
        )
        wanted = f"block {block!r}" if block is not None else "block"
        raise ValueError(
            f"there is no {wanted}{'' if head is None else f' with a head {head}'}"
            f"{'' if call is None else f' in a call {call}'}; available: "
            f"{', '.join(there)}"
        )
    return found[0]


def middle_frame(grid: Grid, frame: int, frames: int) -> int:
    """Return which of the frames of a clip is in the middle of those that a grid's stands for."""
    return int(sum(grid.clip_span(frame, frames)) / 2)


def _together(grids: Sequence[Grid]) -> Grid:
    return replace(grids[0], frames=sum(grid.frames for grid in grids))
