"""What networks did on an input, pass by pass, and the tables of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from nonlocal_lens.analysis import degeneracy
from nonlocal_lens.analysis.clips import Clip
from nonlocal_lens.analysis.degeneracy import DegeneracyReport
from nonlocal_lens.analysis.over_time import (
    degeneracy_over_time,
    drift_by_frame,
    frame_degeneracy,
    unary_maps,
)
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.runs import runs
from nonlocal_lens.analysis.scene import Records, middle_frame
from nonlocal_lens.analysis.tables.rows import STATISTICS, report_cells
from nonlocal_lens.analysis.vectors import VectorDistances, distances_of

if TYPE_CHECKING:
    import pandas as pd

WORDS = ("token_shares", "verdict")
"""What a report says in words."""


@dataclass(frozen=True, eq=False)
class Pass:
    """What a network's blocks did in one forward pass: over the input, or over a frame of it."""

    records: tuple[AttentionRecord, ...]
    vectors: dict[str, VectorDistances]  # of its blocks, by name

    def measure(self, record: AttentionRecord) -> DegeneracyReport:
        """Return the degeneracy of one of the records."""
        return degeneracy.measure(record, vectors=distances_of(record, self.records, self.vectors))


@dataclass(frozen=True, eq=False)
class NetworkPasses:
    """One network on the input."""

    passes: list[Pass]
    shown: Records  # of the block and head that are shown
    output: Any = None  # of a picture
    sha256: str = ""  # of the weights, where they are a file


def report_table(explored: Mapping[str, NetworkPasses], is_clip: bool) -> "pd.DataFrame":
    """Return the degeneracy of every block, run and head, see `Exploration.report`."""
    import pandas as pd

    rows = []
    for title, one in explored.items():
        for frame, run in enumerate(one.passes):
            when = {"frame": None if one.shown.of_clips else frame} if is_clip else {}
            for record, number in zip(run.records, runs(run.records), strict=True):
                cells = report_cells(run.measure(record))
                where = {"network": title, **when, "block": record.block}
                where |= {"call": number, "head": record.head}
                rows.append({**where, **{n: cells[n] for n in (*STATISTICS, *WORDS)}})
    table = pd.DataFrame(rows).astype({"head": "Int64"})
    return table.astype({"frame": "Int64"}) if is_clip else table


def over_time_table(explored: Mapping[str, NetworkPasses], clip: Clip) -> "pd.DataFrame":
    """Return the degeneracy frame by frame, see `Exploration.over_time`."""
    import pandas as pd

    rows = []
    for title, one in explored.items():
        of_run = runs(one.passes[0].records)
        for number, *records in zip(of_run, *(run.records for run in one.passes), strict=True):
            first = records[0]
            grid, before = first.query_grid, 0
            if one.shown.of_clips:
                frames = list(degeneracy_over_time(first).frames)
                shown = [middle_frame(grid, at, len(clip)) for at in range(grid.frames)]
                start, end = grid.clip_span(0, len(clip))
                before = round(start / (end - start))  # frames of the groups before this
            else:
                frames = [frame_degeneracy(record) for record in records]
                shown = list(range(len(frames)))
            maps = torch.cat([unary_maps(record) for record in records])
            drift = drift_by_frame(maps, len(frames))
            for at, (frame, change) in enumerate(zip(frames, drift, strict=True)):
                rows.append(
                    {
                        "network": title,
                        "block": first.block,
                        "call": number,
                        "head": first.head,
                        "frame": before + at,
                        "time_s": float(clip.times[shown[at]]),
                        **vars(frame),
                        "drift_nats": change,
                    }
                )
    return pd.DataFrame(rows).astype({"head": "Int64"})
