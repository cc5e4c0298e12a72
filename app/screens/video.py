"""Video: one clip, one network; point at a place in any frame and see where and when it looks."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from torch import nn

from nonlocal_lens.analysis.capture import observe, observe_frames, takes_clips
from nonlocal_lens.analysis.clips import MOST_FRAMES, Clip
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.scene import Records, groups_of
from nonlocal_lens.analysis.tracking import CellFlow, cell_flow
from nonlocal_lens.app import cache
from nonlocal_lens.app.address import keep_address, opened_link
from nonlocal_lens.app.clip_address import clip_fields, note_clip, open_what_it_names
from nonlocal_lens.app.components import places
from nonlocal_lens.app.components.clip_numbers import (
    pick_of,
    show_degeneracy,
    show_frames,
    show_pinned,
    show_row,
)
from nonlocal_lens.app.components.clip_picker import choose_reel
from nonlocal_lens.app.components.network_picker import choose_network, choose_record
from nonlocal_lens.app.components.skeleton import skeleton
from nonlocal_lens.app.components.working import working
from nonlocal_lens.app.line import page_turn
from nonlocal_lens.app.link import Link
from nonlocal_lens.app.markdown import literal
from nonlocal_lens.app.networks import short_name
from nonlocal_lens.app.session import kept
from nonlocal_lens.app.shown import (
    ShownClip,
    clip_spot,
    part_chosen,
    part_of,
    query_text,
    remember,
)
from nonlocal_lens.app.video_clips import Reel
from nonlocal_lens.app.viewer.payload import Shown, pack_all, with_view
from nonlocal_lens.app.viewer.show import show_viewer
from nonlocal_lens.app.viewer.view import Query
from nonlocal_lens.app.views import keep_view, opened_view

USUAL_FRAMES = 8


def video() -> None:
    """Draw the page from top to bottom."""
    link = opened_link("video", clip_fields())
    if link is not None:
        open_what_it_names(link)
    bar = places.bar()
    with bar:
        reel = choose_reel()
    name = choose_network("video", clips=True, bar=bar)
    if reel is None:
        st.info(
            "Choose a file to see what the network attends to in it. It stays on this computer."
        )
        return
    if name is None:
        st.info("Choose a network to see what it attends to.")
        return
    network, _ = cache.network(name)
    with bar:
        choice = choose_frames(network)
    progress, waiting = st.container(), skeleton("video")
    clip = working(
        ("clip", reel.id, *choice.values()),
        cache.shelf("clips"),
        "Reading frame",
        lambda progress: reel.read(progress=progress, **choice),
        (progress, waiting),
    )
    if clip.note:
        st.warning(f"{literal(clip.note)}.")
    key = ("records", name, reel.id, *choice.values())
    seen = working(
        key,
        cache.shelf("records"),
        "Looking at frame",
        lambda progress: records_of(name, clip, progress),
        (progress, waiting),
    )
    if not seen[0]:
        waiting.empty()
        st.info(f"`{short_name(name)}` has no attention block to show.")
        return
    with places.parts("video"):
        index = choose_record(seen[0], "video")
    chosen = [records[index] for records in seen]
    if takes_clips(network):  # a block may see a group of frames at a time
        chosen = groups_of(seen[0], chosen[0])
    over = Records(len(clip), tuple(chosen), takes_clips(network))
    try:
        records = (over.joined(),) if over.of_clips else over.records
    except ValueError as error:
        waiting.empty()
        st.error(f"This block cannot be shown: {literal(str(error))}.")
        return
    # what the command has to name: the first block, and its first head, are taken anyway
    part = part_of(records[0])._asdict() if index else {}
    over = replace(over, records=records)
    show_clip(name, reel, clip, over, (*key, index), {**choice, **part}, waiting)


def choose_frames(network: nn.Module) -> dict[str, int | None]:
    """Let the user choose which frames are looked at."""
    usual = getattr(getattr(network, "preprocess", None), "frames", USUAL_FRAMES)
    with st.popover("Frames", icon=":material/movie:"):
        frames = st.number_input("Frames", 1, MOST_FRAMES, **kept("video-frames", usual))
        start = st.number_input("Start at frame", 0, **kept("video-start", 0))
        spread = st.toggle(
            "Spread to the end",
            **kept("video-spread", True),
            help="Evenly from the first frame to the last of the clip; off, every so many frames.",
        )
        stride = None
        if not spread:
            stride = st.number_input("Every … frames", 1, **kept("video-stride", 1))
    return {"start": start, "stride": stride, "frames": frames}


def records_of(
    name: str, clip: Clip, progress: Callable[[int, int], None]
) -> tuple[tuple[AttentionRecord, ...], ...]:
    """Return the records of all blocks: those of the clip, or one after the other of each frame."""
    network, lock = cache.network(name)
    if takes_clips(network):
        with page_turn(), lock:
            return (observe(network, clip).records,)
    records: list[tuple[AttentionRecord, ...]] = []
    with page_turn(), lock:
        for seen in observe_frames(network, clip):
            records.append(seen.records)
            progress(len(records), len(clip))
    return tuple(records)


@st.fragment  # a pin reruns this part alone
def show_clip(
    name: str,
    reel: Reel,
    clip: Clip,
    over: Records,
    key: Hashable,
    choice: dict[str, Any],
    waiting: DeltaGenerator,
) -> None:
    """Show the viewer, the numbers of a pinned query, and those of the block over time."""
    records, spacetime = over.records, over.of_clips
    grid = over.first.query_grid
    flow: CellFlow | None = None
    if not spacetime:
        flow = cache.shelf("flows").get((key, "flow"), lambda: cell_flow(clip.frames, grid))
    payload = cache.shelf("film").get(
        (key, "payload"),
        lambda: pack_all(
            clip,
            [Shown(short_name(name), over, sha256=cache.weights_sha256(name), flow=flow)],
            alt=reel.alt,
            name=reel.name,
        ),
    )
    strip, opened = opened_view(str(reel.id), ("video", name))
    view = show_viewer(with_view(payload, opened), key=strip)
    waiting.empty()
    keep_view(view, str(reel.id), ("video", name))
    part = part_chosen(choice).name
    note_clip(reel, name, part, view, choice["stride"])
    keep_address(Link(view=replace(view, queries=())), clip_fields())
    pins = [query for query in view.queries if inside(query, over)]
    chosen = -1 if view.active is None or view.active >= len(pins) else view.active
    pin = pins[chosen] if pins else None
    watched = watched_of(name, reel, choice, pins, clip, track=bool(pins) and view.follow is True)
    remember(watched)
    pinned_tab, time_tab, command_tab = st.tabs(
        ["Pinned query", "Degeneracy over time", "As files"], **kept("video_tabs", "Pinned query")
    )
    if pinned_tab.open:
        with pinned_tab:
            pick = None if pin is None else pick_of(pin, view)
            if pick is None:
                st.caption("Click a place in a frame to pin it; its numbers come here.")
            elif spacetime:
                show_pinned(over, pick)
            else:
                show_row(records, pick, flow, clip)
    if time_tab.open:
        with time_tab:
            (show_degeneracy if spacetime else show_frames)(records, clip, key)
    if command_tab.open:
        with command_tab:
            show_command(watched, clip)
    frames = f"{grid.frames} × " if spacetime else ""
    st.caption(
        f"Block `{records[0].block}` of `{short_name(name)}`: "
        f"{frames}{grid.height} × {grid.width} queries"
        f"{'' if spacetime else ' in each frame'}. {len(clip)} frames of {clip.name}, "
        f"{clip.times[0]:.2f} to {clip.times[-1]:.2f} s, {clip.fps:.3g} a second."
    )


def inside(query: Query, over: Records) -> bool:
    """Return whether a query, which may be of another clip or network, is one of this."""
    spot, axis = query.spot, over.first.query_axis
    if isinstance(spot, str):
        return spot in axis.names
    x, y = spot
    height, width = (0, 0) if axis.grid is None else axis.grid.image_hw
    return 0 <= (query.frame or 0) < over.frames and 0 <= x < width and 0 <= y < height


def watched_of(
    name: str,
    reel: Reel,
    choice: dict[str, Any],
    pins: Sequence[Query],
    clip: Clip,
    *,
    track: bool,
) -> ShownClip:
    """Return what is shown and pinned, for the Export page and the command."""
    queries = tuple(clip_spot(query) for query in pins)
    return ShownClip(name, reel, len(clip), tuple(choice.items()), queries, track=track)


def show_command(watched: ShownClip, clip: Clip) -> None:
    """Show the command that writes what the page shows to files."""
    from nonlocal_lens.app.export.options import Options

    height, width = clip.frames.shape[1:3]
    queries = watched.queries or ((len(clip) // 2, width / 2, height / 2),)
    options = Options.build(
        {
            "inputs": [watched.reel.location],
            "networks": [watched.network],
            "queries": [query_text(query) for query in queries],
            "formats": "mp4,gif,png,html",
            "track": watched.track,
            **dict(watched.chosen),
        }
    )
    st.caption(
        "A video, a GIF, a contact sheet, and this viewer as one file that works offline. "
        "Other layouts and formats, and the files themselves, are on the Export page."
    )
    st.code(options.in_users_terms().command(), language="console", wrap_lines=True)


video()
