"""What is shown and pinned in Explore, Compare or Video, for the pages that go on from there."""

from typing import NamedTuple

import streamlit as st

from app.pictures import Picture
from app.video_clips import Reel

EXPLORED, WATCHED = "explored", "watched"  # where the session keeps a picture and a clip
LATEST = "export-latest"  # where it keeps which of the two was shown last


class Explored(NamedTuple):
    """One picture through one network, or several, with the pinned queries."""

    network: str  # what `load_network` takes
    picture: Picture
    block: str
    head: int | None
    points: tuple[tuple[float, float], ...]  # image pixels
    others: tuple[str, ...] = ()  # networks that it is compared with

    @property
    def networks(self) -> tuple[str, ...]:
        """All networks, the first one first."""
        return self.network, *self.others


class Watched(NamedTuple):
    """Some frames of one clip through one network, with the pinned query."""

    network: str  # what `load_network` takes
    reel: Reel
    frames: int  # how many were looked at
    chosen: tuple[tuple[str, int | None], ...]  # start, stride and frames of `read_clip`
    queries: tuple[tuple[int, float, float], ...] = ()  # frame of those chosen, image pixels
    track: bool = False  # whether queries follow what moves


def query_text(query: tuple[float, ...]) -> str:
    """Return a query as a command takes it: x, y in image pixels, in a clip the frame before."""
    return ",".join(f"{number:g}" for number in query)


def remember(shown: Explored | Watched) -> None:
    """Let the Export page know what is shown and pinned; it opens with what was shown last."""
    kind = WATCHED if isinstance(shown, Watched) else EXPLORED
    st.session_state[kind] = shown
    st.session_state[LATEST] = kind
