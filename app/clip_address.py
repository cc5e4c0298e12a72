"""What is shown of a clip, in an address: the clip, the network, the frames and the pins."""

import re
from collections.abc import Sequence
from dataclasses import replace

from nonlocal_lens.analysis.clips import MOST_FRAMES
from nonlocal_lens.app import session
from nonlocal_lens.app.address import known_source, token_of
from nonlocal_lens.app.address_fields import Field, flag, number
from nonlocal_lens.app.components.clip_picker import (
    current_reel,
    open_known_reel,
    reel_of,
    token_of_reel,
)
from nonlocal_lens.app.components.network_picker import open_network
from nonlocal_lens.app.link import NAME, QUERY_LETTERS, Link, read_queries, write_queries
from nonlocal_lens.app.pictures import STREETS
from nonlocal_lens.app.shown import ShownClip, clip_spot, named_part
from nonlocal_lens.app.video_clips import Reel
from nonlocal_lens.app.viewer.view import MOST_QUERIES, Query, View
from nonlocal_lens.app.views import keep_view

_CLIP, _NETWORK, _PART, _PINS = "clip named", "network named", "part named", "pins named"
_STRIDE, _FOLLOW = "stride named", "video-follow"
MOST_START = 1_000_000


def clip_fields() -> list[Field]:
    """Return what the address of a page with a clip names."""
    return [
        Field("clip", _CLIP, str, _read_clip, "street-NUMBER or the token of a file"),
        Field("network", _NETWORK, str, known_source, "the name of a network"),
        number("frames", "video-frames", 1, MOST_FRAMES),
        number("start", "video-start", 0, MOST_START),
        number("stride", _STRIDE, 1, MOST_START),
        Field("part", _PART, str, _read_part, "the name of a block"),
        Field("q", _PINS, _write_pins, _read_pins, "queries, each a frame and pixels of it"),
        flag("follow", _FOLLOW),
    ]


def note_clip(reel: Reel, network: str, part: str, view: View, stride: int | None) -> None:
    """Note what a page with a clip shows, for its address."""
    session.choose(_CLIP, token_of_reel(reel))
    session.choose(_NETWORK, token_of(network))
    session.choose(_PART, part or None)
    session.choose(_PINS, view.queries)
    session.choose(_STRIDE, stride)
    session.choose(_FOLLOW, view.follow or None)


def open_what_it_names(link: Link) -> None:
    """Choose the clip, the network, the frames and the pins that an address names.

    To be called when a page was opened with an address; what it does not name stays.
    """
    token, network = session.chosen(_CLIP), session.chosen(_NETWORK)
    if token:
        open_known_reel(token)
        reel = reel_of(token)
        queries = session.chosen(_PINS, ())
        # the settings of the schema are keywords of a view
        view = replace(link.view, queries=queries, follow=session.chosen(_FOLLOW))  # type: ignore[call-arg]
        keep_view(view, token if reel is None else str(reel.id), ("video", network))
    if network:
        open_network(network, named_part(session.chosen(_PART) or ""), "video")
    stride = session.chosen(_STRIDE)
    session.choose("video-spread", stride is None)
    if stride is not None:
        session.choose("video-stride", stride)


def watched_named() -> ShownClip | None:
    """Return what an address names of a clip, once `open_what_it_names` has opened it."""
    reel = current_reel() if session.chosen(_CLIP) else None
    network = session.chosen(_NETWORK)
    if reel is None or network is None:
        return None
    frames = session.chosen("video-frames")
    stride = session.chosen(_STRIDE)
    chosen = {"start": session.chosen("video-start", 0), "stride": stride, "frames": frames}
    part = named_part(session.chosen(_PART) or "")
    chosen |= part._asdict() if part.block else {}
    queries = tuple(clip_spot(pin) for pin in session.chosen(_PINS, ()))
    track = session.chosen(_FOLLOW) is True
    return ShownClip(network, reel, frames or 0, tuple(chosen.items()), queries, track)


def _read_clip(text: str) -> str:
    street = re.fullmatch(r"street-([0-9]{1,7})", text)
    if not re.fullmatch(r"file-[0-9a-f]{16}", text) and not (street and int(street[1]) < STREETS):
        raise ValueError
    return text


def _read_part(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError
    return text


def _write_pins(queries: Sequence[Query]) -> str:
    """Write `FRAME.x-y` and so on, as `link.write_queries` does without the frame."""
    pins = [f"{query.frame or 0}.{write_queries([query])}" for query in queries]
    while len("_".join(pins)) > QUERY_LETTERS // 2:
        pins.pop()
    return "_".join(pins)


def _read_pins(text: str) -> tuple[Query, ...]:
    found = []
    for part in text.split("_"):
        frame, _, points = part.partition(".")
        if not re.fullmatch(r"[0-9]{1,4}", frame) or int(frame) >= MOST_FRAMES:
            raise ValueError
        found.append(replace(read_queries(points)[0], frame=int(frame)))
    if len(found) > MOST_QUERIES:
        raise ValueError
    return tuple(found)
