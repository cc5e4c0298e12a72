"""The numbers of a clip: of a pinned query, and of the block over time."""

from collections.abc import Callable, Hashable
from math import isfinite
from typing import NamedTuple

import altair as alt
import pandas as pd
import streamlit as st
import torch

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.clips import Clip, frames_of
from nonlocal_lens.analysis.over_time import (
    Degeneracy,
    degeneracy_over_time,
    frame_degeneracy,
    row_over_time,
    strongest_arrows,
    unary_drift,
    unary_maps,
)
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.scene import Place, Records, middle_frame
from nonlocal_lens.analysis.tracking import CellFlow
from nonlocal_lens.app import cache
from nonlocal_lens.app.components.working import working
from nonlocal_lens.app.viewer.view import Query, View

UNITS = {
    "unary_share": "Unary share (0 to 1)",
    "query_information_bits": "Query information (bits)",
    "cosine_distance": "Cosine distance (0 to 0.5)",
}


class Pick(NamedTuple):
    """A pinned query."""

    frame: int  # of the clip
    x: float  # image pixels
    y: float
    follow: bool  # whether it moves with the picture


def pick_of(query: Query, view: View) -> Pick | None:
    """Return a pinned place; of a region, its middle. None of a token that lies nowhere."""
    spot = query.spot
    return None if isinstance(spot, str) else Pick(query.frame or 0, *spot, view.follow is True)


def show_pinned(over: Records, pick: Pick) -> None:
    """Show the strongest keys of a pinned query, computed by torch in single precision."""
    record, query = over.query(Place(pick.frame, pick.x, pick.y))
    keys = len(record.key)
    rows = {term: terms.attention(record, [query], term)[0] * keys for term in terms.TERMS}
    st.markdown(f"**Pinned query** in frame {pick.frame + 1} at x {pick.x:.0f}, y {pick.y:.0f}")
    table = []
    for arrow in strongest_arrows(record, query):
        weights = {
            term.capitalize(): round(rows[term][arrow.key].item(), 3) for term in terms.TERMS
        }
        table.append(
            {
                "Key in frame": middle_frame(record.key_grid, arrow.cell.frame, over.frames) + 1,
                "at x, y": f"{arrow.x:.0f}, {arrow.y:.0f}",
                **weights,
            }
        )
    st.dataframe(table, hide_index=True, height=248)
    unit = "as logits" if record.signed else "in multiples of uniform"
    st.caption(f"Its 20 strongest keys in all frames, {unit}, by torch in single precision.")


def show_row(
    records: tuple[AttentionRecord, ...], pick: Pick, flow: CellFlow | None, clip: Clip
) -> None:
    """Show the statistics of a pinned query's row in every frame."""
    path: list[tuple[float, float] | None] = [(pick.x, pick.y)] * len(records)
    if pick.follow and flow is not None:
        path = flow.follow(pick.x, pick.y, pick.frame)
    moves = "followed by optical flow from" if pick.follow else "staying at"
    place = f"x {pick.x:.0f}, y {pick.y:.0f} of frame {pick.frame + 1}"
    st.markdown(f"**Pinned query**, {moves} {place}")
    table = [
        {
            "Frame": frame + 1,
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
    found = cache.shelf("over time").get((key, "degeneracy"), lambda: degeneracy_over_time(record))
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
            {"From frame": row + 1, "To frame": column + 1, "Share": value}
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
        cache.shelf("over time"),
        "Measuring frame",
        lambda progress: measured(records, progress),
        (st.container(), st.empty()),
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
        numbers = range(1, len(values) + 1)
        table = pd.DataFrame({"Frame": numbers, "Time": times, "Value": values}).dropna()
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
