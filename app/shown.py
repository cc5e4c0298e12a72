"""What is shown and pinned in Explore, Compare or Video, for the pages that go on from there."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import streamlit as st

from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.scene import Query as Spot
from nonlocal_lens.app.drawn_streets import FIRST_STREET
from nonlocal_lens.app.pictures import Picture
from nonlocal_lens.app.session import choose
from nonlocal_lens.app.video_clips import Reel
from nonlocal_lens.app.viewer.view import Query, View

SHOWN_PICTURE, SHOWN_CLIP = (
    "shown-picture",
    "shown-clip",
)  # where the session keeps a picture and a clip
LATEST = "export-latest"  # where it keeps which of the two was shown last


class Part(NamedTuple):
    """A block of a network, maybe one of its heads, in one of its runs on a picture."""

    block: str = ""  # empty where it is the first
    head: int | None = None  # None is the first
    call: int | None = None  # which run, from 0; None is the first

    @property
    def name(self) -> str:
        """What it is called in an address; empty where no block is named."""
        again = f".call{self.call}" if self.call else ""
        head = "" if self.head is None else f".head{self.head}"
        return f"{self.block}{again}{head}" if self.block else ""


class ShownPicture(NamedTuple):
    """One picture through one network, or several, with the pinned queries."""

    network: str  # what `load_network` takes
    picture: Picture
    part: Part
    pins: tuple[Query, ...]
    others: tuple[str, ...] = ()  # networks that it is compared with

    @property
    def spots(self) -> tuple[Spot, ...]:
        """What is pinned in image pixels, of regions and classes one place, or names of tokens."""
        return tuple(pin.spot for pin in self.pins)

    @property
    def networks(self) -> tuple[str, ...]:
        """All networks, the first one first."""
        return self.network, *self.others


ClipSpot = tuple[int, float, float] | tuple[int, str]
"""A pinned query of a clip: a frame of those chosen with image pixels, or with a token's name."""


class ShownClip(NamedTuple):
    """Some frames of one clip through one network, with the pinned query."""

    network: str  # what `load_network` takes
    reel: Reel
    frames: int  # how many were looked at
    chosen: tuple[tuple[str, int | None], ...]  # start, stride and frames of `read_clip`
    queries: tuple[ClipSpot, ...] = ()
    track: bool = False  # whether queries follow what moves


FIRST_PINS = (Query(((137.0, 120.0),)), Query(((240.0, 300.0),)))
"""The lamp post and the road of the street that the app opens with, in image pixels."""


def first_view(picture: Picture) -> View:
    """Return what a picture opens with, before anything was pinned in it."""
    return View(queries=FIRST_PINS, active=0) if picture.id == f"street-{FIRST_STREET}" else View()


def named_part(name: str) -> Part:
    """Return what a name in an address stands for."""
    found = re.fullmatch(
        r"(.*?)(?:\.call(\d{1,6}))?(?:\.head(\d{1,6}))?", name, re.ASCII | re.DOTALL
    )
    assert found is not None  # it matches whatever there is
    block, call, head = found.groups()
    return Part(block, None if head is None else int(head), None if call is None else int(call))


def part_chosen(options: Mapping[str, Any]) -> Part:
    """Return the part that options of an export name."""
    return Part(options.get("block") or "", options.get("head"), options.get("call"))


def part_of(record: AttentionRecord) -> Part:
    """Return what a record is of."""
    return Part(record.block, record.head, record.call or None)


def clip_spot(query: Query) -> ClipSpot:
    """Return a pinned query of a clip; of a region, its middle."""
    frame, spot = query.frame or 0, query.spot
    if isinstance(spot, str):
        return frame, spot
    x, y = spot
    return frame, round(x, 1), round(y, 1)


def query_at(place: ClipSpot) -> Query:
    """Return the query of a clip that `clip_spot` made of one."""
    frame, first, last = place[0], place[1], place[-1]
    spot: Spot = first if isinstance(first, str) else (first, float(last))
    return Query.at(spot, frame)


def query_text(query: Spot | ClipSpot) -> str:
    """Return a query as a command takes it: x, y in image pixels, in a clip the frame before.

    A token is its name, which is in all frames.
    """
    name = query if isinstance(query, str) else query[-1]
    if isinstance(name, str):
        return name if re.fullmatch(r"[A-Za-z][\w -]*", name) else f"token:{name}"
    return ",".join(f"{number:g}" for number in query)


def remember(shown: ShownPicture | ShownClip) -> None:
    """Let the Export page know what is shown and pinned; it opens with what was shown last."""
    kind = SHOWN_CLIP if isinstance(shown, ShownClip) else SHOWN_PICTURE
    st.session_state[kind] = shown
    st.session_state[LATEST] = kind
    choose(LATEST, kind)
