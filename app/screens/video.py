"""Video: one clip, one network; point at a place in any frame and see where and when it looks."""

from collections.abc import Callable, Hashable
from math import isfinite
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st
import torch
from torch import nn

from analysis import terms
from analysis.capture import observe, observe_frames, takes_clips
from analysis.clips import MOST_FRAMES, Clip, frames_of
from analysis.over_time import (
    Degeneracy,
    degeneracy_over_time,
    frame_degeneracy,
    row_over_time,
    strongest_arrows,
    unary_drift,
    unary_maps,
)
from analysis.record import AttentionRecord
from analysis.tracking import CellFlow, cell_flow
from app import cache
from app.components.network_picker import choose_network, choose_record
from app.explored import Watched, query_text, remember
from app.filmstrip import Pick, film_strip
from app.filmstrip.payload import pack_clip
from app.markdown import literal
from app.networks import short_name
from app.video_clips import STREETS, Reel, rendered_reel, uploaded_frames, uploaded_reel

RENDERED, UPLOAD, FOLDER = "Rendered street clip", "Your own video…", "A folder of frames…"
UPLOAD_TYPES = ["mp4", "m4v", "mov", "avi", "webm", "mkv", "gif"]
FRAME_TYPES = ["png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff"]
UPLOAD_MEGABYTES = 100
USUAL_FRAMES = 8

UNITS = {
    "unary_share": "Unary share (0 to 1)",
    "query_information_bits": "Query information (bits)",
    "cosine_distance": "Cosine distance (0 to 0.5)",
}


def video() -> None:
    """Draw the page from top to bottom."""
    title_column, clip_column, network_column = st.columns([4, 3, 4], gap="medium")
    with title_column:
        st.subheader("Video", anchor=False)
        st.caption("Point at a place in any frame and see where and when the network looks.")
    with network_column:
        name = choose_network("video", clips=True)
    with clip_column:
        reel = choose_reel()
    if reel is None:
        st.info(
            "Choose a file to see what the network attends to in it. It stays on this computer."
        )
        return
    if name is None:
        st.info("Choose a network to see what it attends to.")
        return
    network, _ = cache.network(name)
    choice = choose_frames(network)
    clip = working(
        ("clip", reel.id, *choice.values()),
        cache.shelf("clips", 2),
        "Reading frame",
        lambda progress: reel.read(progress=progress, **choice),
    )
    if clip.note:
        st.warning(f"{literal(clip.note)}.")
    key = ("records", name, reel.id, *choice.values())
    seen = working(
        key,
        cache.shelf("records", 4),
        "Looking at frame",
        lambda progress: records_of(name, clip, progress),
    )
    if not seen[0]:
        st.info(f"`{short_name(name)}` has no attention block to show.")
        return
    with network_column:
        index = choose_record(seen[0], "video")
    records = tuple(records[index] for records in seen)
    # what the command has to name: the first block, and its first head, are taken anyway
    part = {"block": records[0].block, "head": records[0].head} if index else {}
    show_clip(name, reel, clip, records, (*key, index), {**choice, **part})


def choose_reel() -> Reel | None:
    """Let the user choose a rendered clip or bring one; None until there is one."""
    kind = st.selectbox("Clip", [RENDERED, UPLOAD, FOLDER], key="video_clip")
    if kind == RENDERED:
        number = st.number_input(
            "Clip number", 0, STREETS - 1, key="video_street", help="Each number is another clip."
        )
        return rendered_reel(number)
    if kind == UPLOAD:
        file = st.file_uploader(
            "Video", UPLOAD_TYPES, max_upload_size=UPLOAD_MEGABYTES, key="video_file"
        )
        if file is None:
            return None
        return cache.shelf("reels", 8).get(file.file_id, lambda: uploaded_reel(file))
    files = st.file_uploader(
        "Frames", FRAME_TYPES, accept_multiple_files=True, key="video_frames_files"
    )
    if not files:
        return None
    ids = tuple(file.file_id for file in files)
    return cache.shelf("reels", 8).get(ids, lambda: uploaded_frames(files))


def choose_frames(network: nn.Module) -> dict[str, int | None]:
    """Let the user choose which frames are looked at."""
    usual = getattr(getattr(network, "preprocess", None), "frames", USUAL_FRAMES)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        frames = st.number_input(
            "Frames", 1, MOST_FRAMES, usual, key=f"video_frames_{usual}", width=120
        )
        start = st.number_input("Start at frame", 0, key="video_start", width=140)
        spread = st.toggle(
            "Spread to the end",
            value=True,
            key="video_spread",
            help="Evenly from the first frame to the last of the clip; off, every so many frames.",
        )
        stride = None
        if not spread:
            stride = st.number_input("Every … frames", 1, value=1, key="video_stride", width=140)
    return {"start": start, "stride": stride, "frames": frames}


def working(
    key: Hashable,
    shelf: cache.Shelf,
    label: str,
    make: Callable[[Callable[[int, int], None]], Any],
) -> Any:
    """Return what is kept under a key, or make it with a progress bar and a button to cancel.

    Any change on the page ends the work, too: what is drawn while it goes on raises in between.
    """
    if key in shelf:
        return shelf.get(key, lambda: None)
    if st.session_state.get("video_cancelled") == key:
        st.info("Cancelled.")
        st.button("Go on", on_click=st.session_state.pop, args=("video_cancelled", None))
        st.stop()
    place = st.empty()
    with place.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0, text=f"{label}…")
        st.button(
            "Cancel", key=f"cancel-{label}", on_click=_cancel, args=(key,), icon=":material/close:"
        )

    def progress(done: int, total: int) -> None:
        bar.progress(done / total, text=f"{label} {done} of {total}…")

    try:
        made = shelf.get(key, lambda: make(progress))
    except (ValueError, OSError) as error:
        place.empty()
        st.error(f"This clip cannot be used: {literal(str(error))}.")
        st.stop()
    place.empty()
    return made


def _cancel(key: Hashable) -> None:
    st.session_state["video_cancelled"] = key


def records_of(
    name: str, clip: Clip, progress: Callable[[int, int], None]
) -> tuple[tuple[AttentionRecord, ...], ...]:
    """Return the records of all blocks: those of the clip, or one after the other of each frame."""
    network, lock = cache.network(name)
    if takes_clips(network):
        with lock:
            return (observe(network, clip).records,)
    records: list[tuple[AttentionRecord, ...]] = []
    with lock:
        for seen in observe_frames(network, clip):
            records.append(seen.records)
            progress(len(records), len(clip))
    return tuple(records)


@st.fragment  # a pin reruns this part alone
def show_clip(
    name: str,
    reel: Reel,
    clip: Clip,
    records: tuple[AttentionRecord, ...],
    key: Hashable,
    choice: dict[str, Any],
) -> None:
    """Show the film strip, the numbers of a pinned query, and those of the block over time."""
    grid = records[0].query_grid
    spacetime = len(records) == 1
    flow: CellFlow | None = None
    if not spacetime:
        flow = cache.shelf("flows", 4).get((key, "flow"), lambda: cell_flow(clip.frames, grid))
    payload = cache.shelf("film", 4).get(
        (key, "payload"),
        lambda: pack_clip(clip, records, title=short_name(name), alt=reel.alt, flow=flow),
    )
    pick = film_strip(payload, key=f"film-{hash(key)}")
    if pick is not None and not inside(pick, records, len(clip)):
        pick = None
    watched = watched_of(name, reel, choice, pick, clip, records)
    remember(watched)
    pinned_tab, time_tab, command_tab = st.tabs(
        ["Pinned query", "Degeneracy over time", "As files"], on_change="rerun", key="video_tabs"
    )
    if pinned_tab.open:
        with pinned_tab:
            if pick is None:
                st.caption("Click a place in a frame to pin it; its numbers come here.")
            elif spacetime:
                show_pinned(records[0], pick)
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


def inside(pick: Pick, records: tuple[AttentionRecord, ...], frames: int) -> bool:
    """Return whether a pick, which may be of another clip, lies in this one."""
    grid = records[0].query_grid
    frames = grid.frames if len(records) == 1 else frames
    height, width = grid.image_hw
    return 0 <= pick.frame < frames and 0 <= pick.x < width and 0 <= pick.y < height


def show_pinned(record: AttentionRecord, pick: Pick) -> None:
    """Show the strongest keys of a pinned query, computed by torch in single precision."""
    grid = record.query_grid
    query = grid.position(grid.cell_at(x=pick.x, y=pick.y, frame=pick.frame))
    keys = record.key_grid.positions
    rows = {term: terms.attention(record, [query], term)[0] * keys for term in terms.TERMS}
    st.markdown(f"**Pinned query** in frame {pick.frame} at x {pick.x:.0f}, y {pick.y:.0f}")
    table = []
    for arrow in strongest_arrows(record, query):
        weights = {
            term.capitalize(): round(rows[term][arrow.key].item(), 3) for term in terms.TERMS
        }
        table.append(
            {
                "Key in frame": arrow.cell.frame,
                "at x, y": f"{arrow.x:.0f}, {arrow.y:.0f}",
                **weights,
            }
        )
    st.dataframe(table, hide_index=True, height=248)
    unit = "as logits" if record.coupling == "unnormalized" else "in multiples of uniform"
    st.caption(f"Its 20 strongest keys in all frames, {unit}, by torch in single precision.")


def show_row(
    records: tuple[AttentionRecord, ...], pick: Pick, flow: CellFlow | None, clip: Clip
) -> None:
    """Show the statistics of a pinned query's row in every frame."""
    path: list[tuple[float, float] | None] = [(pick.x, pick.y)] * len(records)
    if pick.follow and flow is not None:
        path = flow.follow(pick.x, pick.y, pick.frame)
    moves = "followed by optical flow from" if pick.follow else "staying at"
    st.markdown(f"**Pinned query**, {moves} x {pick.x:.0f}, y {pick.y:.0f} of frame {pick.frame}")
    table = [
        {
            "Frame": frame,
            "Time (s)": round(float(clip.times[frame]), 2),
            "x, y": "lost" if point is None else f"{point[0]:.0f}, {point[1]:.0f}",
            "Entropy (bits)": round(row.entropy_bits, 3),
            "Pairwise share": round(row.pairwise_share, 3),
            "Change from the frame before (nats, 0 to 0.693)": round(row.change_nats, 4),
        }
        for frame, (point, row) in enumerate(zip(path, row_over_time(records, path), strict=True))
    ]
    st.dataframe(table, hide_index=True)


def show_degeneracy(records: tuple[AttentionRecord, ...], clip: Clip, key: Hashable) -> None:
    """Show how degenerate a block that looks at whole clips is, frame by frame and across them."""
    (record,) = records
    found = cache.shelf("over time", 8).get(
        (key, "degeneracy"), lambda: degeneracy_over_time(record)
    )
    numbers = {
        "Unary share": found.whole.unary_share,
        "Query information (bits)": found.whole.query_information_bits,
        "of it, by the query's frame (bits)": found.frame_information_bits,
        "Cosine distance": found.whole.cosine_distance,
    }
    with st.container(horizontal=True):
        for label, value in numbers.items():
            st.metric(label, f"{value:.3f}" if isfinite(value) else "undefined", width=220)
    times = [float(clip.times[index]) for index in frames_of(clip, record.query_grid.frames)]
    show_curves(list(found.frames), times, found.drift_nats.tolist())
    matrix = found.frame_to_frame.tolist()
    cells = pd.DataFrame(
        [
            {"From frame": row, "To frame": column, "Share": value}
            for row, values in enumerate(matrix)
            for column, value in enumerate(values)
        ]
    )
    chart = (
        alt.Chart(cells, title="Share of attention from frame to frame")
        .mark_rect()
        .encode(
            x="To frame:O",
            y="From frame:O",
            color=alt.Color("Share:Q", scale=alt.Scale(scheme="viridis", domainMin=0)),
            tooltip=["From frame", "To frame", alt.Tooltip("Share", format=".3f")],
        )
        .properties(width=320, height=300)
    )
    st.altair_chart(chart, width="content")


def show_frames(records: tuple[AttentionRecord, ...], clip: Clip, key: Hashable) -> None:
    """Show how degenerate a block that looks at images is in every frame."""
    frames = working(
        (key, "frames"),
        cache.shelf("over time", 8),
        "Measuring frame",
        lambda progress: measured(records, progress),
    )
    maps = torch.cat([unary_maps(record) for record in records])
    show_curves(frames, [float(time) for time in clip.times], unary_drift(maps).tolist())


def measured(
    records: tuple[AttentionRecord, ...], progress: Callable[[int, int], None]
) -> list[Degeneracy]:
    """Return the degeneracy of every frame."""
    found = []
    for record in records:
        found.append(frame_degeneracy(record))
        progress(len(found), len(records))
    return found


def show_curves(frames: list[Degeneracy], times: list[float], drift: list[float]) -> None:
    """Draw a line over the frames for every statistic."""
    curves = {label: [getattr(frame, name) for frame in frames] for name, label in UNITS.items()}
    curves["Drift of the unary map (nats, 0 to 0.693)"] = [float("nan"), *drift][: len(frames)]
    columns = st.columns(2, gap="large")
    for index, (label, values) in enumerate(curves.items()):
        table = pd.DataFrame({"Frame": range(len(values)), "Time": times, "Value": values}).dropna()
        with columns[index % 2]:
            if table.empty:
                st.caption(f"{label}: undefined here")
                continue
            chart = (
                alt.Chart(table, title=label)
                .mark_line(point=True)
                .encode(
                    x=alt.X("Frame:Q", axis=alt.Axis(tickMinStep=1, format="d")),
                    y=alt.Y("Value:Q", title=None, scale=alt.Scale(zero=True)),
                    tooltip=["Frame", alt.Tooltip("Time", format=".2f"), "Value"],
                )
                .properties(height=170)
            )
            st.altair_chart(chart)


def watched_of(
    name: str,
    reel: Reel,
    choice: dict[str, Any],
    pick: Pick | None,
    clip: Clip,
    records: tuple[AttentionRecord, ...],
) -> Watched:
    """Return what is shown and pinned, for the Export page and the command."""
    chosen = tuple(choice.items())
    if pick is None:
        return Watched(name, reel, len(clip), chosen)
    grid_frames = records[0].query_grid.frames if len(records) == 1 else len(clip)
    query = (frames_of(clip, grid_frames)[pick.frame], round(pick.x, 1), round(pick.y, 1))
    return Watched(name, reel, len(clip), chosen, (query,), track=pick.follow)


def show_command(watched: Watched, clip: Clip) -> None:
    """Show the command that writes what the page shows to files."""
    from app.export.options import Options

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
        "A video, a GIF, a contact sheet, and this film strip as one file that works offline. "
        "Other layouts and formats, and the files themselves, are on the Export page."
    )
    st.code(options.in_users_terms().command(), language="console", wrap_lines=True)


video()
