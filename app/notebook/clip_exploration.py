"""The film strip under a cell, and what it shows as records, tables, figure and files."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import traitlets
from torch import nn

from analysis import degeneracy
from analysis.capture import takes_clips
from analysis.clips import Clip, ClipSource, frames_of, is_clip, read_clip
from analysis.degeneracy import DegeneracyReport
from analysis.figures import Look
from analysis.figures.files import PrintFigure
from analysis.figures.panels import DEFAULT_SHOWN, Shown
from analysis.images import ImageSource
from analysis.over_time import (
    degeneracy_over_time,
    drift_by_frame,
    frame_degeneracy,
    unary_maps,
)
from analysis.record import AttentionRecord
from analysis.tracking import CellFlow
from analysis.vectors import VectorDistances, vector_distances
from app import PRODUCT
from app.batch.clips import usual_frames
from app.batch.inputs import Source, safe_name
from app.export.clip_page import clip_page_bytes, film_payloads
from app.export.clip_pieces import clip_figure
from app.export.clip_queries import ClipQuery, Place
from app.export.clip_seeing import (
    SeenClip,
    flow_of,
    observations,
    places_of,
)
from app.export.options import Options
from app.export.provenance import versions
from app.filmstrip import FILM_STRIP
from app.notebook.lens import Lens, module, record_to_show, report_row
from app.viewer.bundle import joined

if TYPE_CHECKING:
    import pandas as pd

HERE = Path(__file__).parent
FILM_CSS = HERE.parent / "filmstrip" / "filmstrip.css"

AUTO = ClipQuery.parse("auto:1")
"""What a picture shows while nothing is pinned: the query whose row differs most from the rest."""


@dataclass(frozen=True, eq=False)
class Pass:
    """What a network's blocks did in one forward pass: over the clip, or over a frame of it."""

    records: tuple[AttentionRecord, ...]
    vectors: dict[str, VectorDistances]  # of its blocks, by name

    def measure(self, record: AttentionRecord) -> DegeneracyReport:
        """Return the degeneracy of one of the records."""
        return degeneracy.measure(record, vectors=self.vectors.get(record.block))


@dataclass(frozen=True, eq=False)
class ShownClip:
    """One network on the clip."""

    clip: Clip
    whole: bool  # whether it looks at clips: else at one frame after the other
    passes: list[Pass]
    records: tuple[AttentionRecord, ...]  # those that are shown: one of each pass


def seen_by(shown: Mapping[str, ShownClip]) -> SeenClip:
    """Return the clip with what every network made of it, as exports are drawn from."""
    clip = next(iter(shown.values())).clip
    records = {title: one.records for title, one in shown.items()}
    return SeenClip(Source(clip.name, clip.name), clip, records, [], None)


class ClipExploration(Lens[ShownClip]):
    """A film strip for every network under a cell; a contact sheet where no widget runs.

    Attributes:
        queries: What is pinned, in all film strips: nothing, or one (frame, x, y), the frame
            counted among those of the clip, x and y in image pixels. Pinning in a film strip sets
            it, setting it pins: `observe(..., names="queries")` tells of both.
    """

    _esm = module(
        FILM_CSS.read_text(encoding="utf-8"),
        joined((*FILM_STRIP, HERE / "shadow.js", HERE / "film_widget.js")),
    )
    payloads = traitlets.List(traitlets.Bytes()).tag(sync=True)
    frames = traitlets.Int().tag(sync=True)

    def __init__(self, shown: dict[str, ShownClip], queries: Sequence[Any]) -> None:
        seen = seen_by(shown)
        self._flow: CellFlow | None = flow_of(seen.clip, seen.records)
        self._measured: dict[str, DegeneracyReport] = {}
        super().__init__(
            shown,
            payloads=list(film_payloads(replace(seen, flow=self._flow)).values()),
            frames=len(seen.clip),
            queries=list(queries),
        )

    @traitlets.validate("queries")
    def _places(self, proposal: dict[str, Any]) -> list[Place]:
        if len(proposal["value"]) > 1:
            raise ValueError(f"a clip has at most one query, got {len(proposal['value'])}")
        return [self._place(query) for query in proposal["value"]]

    def _place(self, query: Any) -> Place:
        if not (isinstance(query, list | tuple) and len(query) == 3):
            raise ValueError(f"a query in a clip must be (frame, x, y), got {query!r}")
        frame, x, y = query
        if not (isinstance(frame, Integral) and isinstance(x, Real) and isinstance(y, Real)):
            raise ValueError(f"a query in a clip must be (frame, x, y), got {query!r}")
        if not 0 <= int(frame) < self.frames:
            raise ValueError(f"frame must be in [0, {self.frames}) of the clip, got {frame}")
        for records in self.records.values():
            records[0].query_grid.cell_at(x=float(x), y=float(y))
        return Place(int(frame), float(x), float(y))

    @property
    def clip(self) -> Clip:
        """The frames that are looked at."""
        return self._seen.clip

    @property
    def _seen(self) -> SeenClip:
        return seen_by(self._open)

    @property
    def records(self) -> dict[str, tuple[AttentionRecord, ...]]:
        """What the film strips show, by network.

        A network that looks at clips has one record, whose grids have frames; one that looks at
        images has a record for every frame.
        """
        return self._seen.records

    def report(self) -> "pd.DataFrame":
        """Return the degeneracy of every block and head of every network.

        Columns: `network`, `frame`, `block`, `head`, the `analysis.degeneracy.STATISTICS` and
        `verdict`. A network that looks at clips has a row for each block, of all frames together
        (`frame` is missing); one that looks at images has a row for each frame.
        """
        import pandas as pd

        rows = []
        for title, one in self._open.items():
            for frame, run in enumerate(one.passes):
                for record in run.records:
                    row = report_row(title, record, run.measure(record))
                    rows.append({**row, "frame": None if one.whole else frame})
        table = pd.DataFrame(rows).astype({"head": "Int64", "frame": "Int64"})
        table.insert(1, "frame", table.pop("frame"))
        return table

    def over_time(self) -> "pd.DataFrame":
        """Return how degenerate every block and head of every network is frame by frame.

        A row for every frame of the block's grid; see `analysis.over_time`. Columns: `network`,
        `block`, `head`, `frame`, `time_s` (of the frame in the middle of those it stands for),
        `unary_share`, `query_information_bits` and `cosine_distance` of the frame's queries, and
        `drift_nats` of the unary map from the frame before, missing in the first.
        """
        import pandas as pd

        rows = []
        for title, one in self._open.items():
            for records in zip(*(run.records for run in one.passes), strict=True):
                first = records[0]
                if one.whole:
                    found = degeneracy_over_time(first)
                    frames = list(found.frames)
                else:
                    frames = [frame_degeneracy(record) for record in records]
                maps = torch.cat([unary_maps(record) for record in records])
                drift = drift_by_frame(maps, len(frames))
                shown = frames_of(self.clip, len(frames))
                for number, (frame, change) in enumerate(zip(frames, drift, strict=True)):
                    rows.append(
                        {
                            "network": title,
                            "block": first.block,
                            "head": first.head,
                            "frame": number,
                            "time_s": float(self.clip.times[shown[number]]),
                            **vars(frame),
                            "drift_nats": change,
                        }
                    )
        return pd.DataFrame(rows).astype({"head": "Int64"})

    def figure(
        self,
        *,
        look: Look | None = None,
        shown: Sequence[Shown] = DEFAULT_SHOWN,
        track: bool = False,
    ) -> PrintFigure:
        """Draw the contact sheet of the pinned query, or of the one that differs most.

        Args:
            look: See `analysis.figures.Look`; `arrows` go to the strongest keys of all frames.
            shown: Rows of the sheet: `input`, `whole`, `pairwise`, `unary`.
            track: Let the query move with the picture (optical flow) instead of staying, in
                networks that look at images.

        Raises:
            ValueError: A choice that clips do not have, or the figure is too narrow.
        """
        look = look or Look()
        Options(("clip",), tuple(self._open), terms=tuple(shown), look=look).check_clips()
        if track and self._flow is None:
            raise ValueError("track is for networks that look at images; these look at clips")
        seen = replace(self._seen, flow=self._flow if track else None)
        return clip_figure(seen, self._pinned, shown, look)

    def close(self) -> None:
        """Take the film strips away and let go of everything they hold."""
        super().close()
        self._flow = None
        self._measured = {}
        self.payloads = []
        self.__dict__.pop("_most_different", None)

    @property
    def _pinned(self) -> Place:
        return self.queries[0] if self.queries else self._most_different

    @cached_property
    def _most_different(self) -> Place:
        """What a picture shows while nothing is pinned."""
        try:
            return places_of(self._seen, [AUTO])[0]
        except ValueError:  # nothing attends to anything
            height, width = self.clip.frames.shape[1:3]
            return Place(len(self.clip) // 2, width / 2, height / 2)

    @property
    def _reports(self) -> Mapping[str, DegeneracyReport]:
        """The numbers of the clip or, of a network that looks at images, of the query's frame."""
        frame = self._pinned.frame
        found = {}
        for title, one in self._open.items():
            name = title if one.whole else f"{title}, frame {frame}"
            if name not in self._measured:
                number = 0 if one.whole else frame
                self._measured[name] = one.passes[number].measure(one.records[number])
            found[name] = self._measured[name]
        return found

    def _queries_in_words(self) -> list[str]:
        frame, x, y = self._pinned
        return [f"frame {frame}, x {x:.0f}, y {y:.0f}"]

    def _record_files(self) -> Iterable[tuple[str, AttentionRecord]]:
        for title, records in self.records.items():
            for frame, record in enumerate(records):
                part = "" if len(records) == 1 else f".f{frame:03d}"
                yield safe_name(title) + part, record

    def _tables(self) -> list[tuple[str, "pd.DataFrame"]]:
        return [("report", self.report()), ("over_time", self.over_time())]

    def _page(self) -> bytes:
        seen = replace(self._seen, places=list(self.queries), flow=self._flow)
        return clip_page_bytes(seen, self._note)

    @property
    def _note(self) -> dict[str, Any]:
        clip = self.clip
        return {
            "made_by": f"{PRODUCT}, in a notebook",
            "versions": versions(),
            "clip": {"name": clip.name, "sha256": clip.sha256, "frames": list(clip.indices)},
            "blocks": {title: one[0].block for title, one in self.records.items()},
            "queries": [list(self._pinned)],
        }


def is_moving(
    source: ImageSource | ClipSource,
    networks: Iterable[nn.Module],
    start: int,
    stride: int | None,
    frames: int | None,
) -> bool:
    """Return whether a source is to be read as a clip: by its kind, the networks, or the choice."""
    chosen = start != 0 or stride is not None or frames is not None
    return is_clip(source) or chosen or any(takes_clips(network) for network in networks)


def clip_for(
    networks: Mapping[str, nn.Module],
    source: ImageSource | ClipSource,
    start: int,
    stride: int | None,
    frames: int | None,
) -> Clip:
    """Read a clip for networks: as many frames as they look at, where nothing else is said.

    Raises:
        FileNotFoundError: The path does not exist.
        ValueError: This is no clip, it is damaged, or the choice is out of range.
    """
    looking = next((title for title, one in networks.items() if takes_clips(one)), None)
    need = f"{looking} looks at clips" if looking else "start, stride and frames are of clips"
    name = Path(source).name if isinstance(source, str | Path) else "this"
    still = (
        f"{need}, and {name} is a single image: give a video, a GIF, a folder of frames, or an "
        "array (frames, height, width, 3)"
    )
    if not (is_clip(source) or isinstance(source, str | Path | bytes)):
        raise ValueError(still)
    wanted = len(source) if isinstance(source, Clip) else usual_frames(networks.values())
    clip = read_clip(
        source,  # type: ignore[arg-type]
        start=start,
        stride=stride,
        frames=wanted if frames is None else frames,
    )
    if len(clip) == 1 and frames != 1 and not is_clip(source):
        raise ValueError(still)
    return clip


def explore_clip(
    networks: Mapping[str, nn.Module],
    clip: Clip,
    block: str | None,
    head: int | None,
    queries: Sequence[Any],
) -> ClipExploration:
    """Run networks on a clip and show what they attend to; see `explore`."""
    shown: dict[str, ShownClip] = {}
    for title, network in networks.items():
        with vector_distances(network) as vectors:
            passes = [Pass(seen.records, dict(vectors)) for seen in observations(network, clip)]
        records = tuple(
            record_to_show(title, run.records, block, head, first=not shown) for run in passes
        )
        shown[title] = ShownClip(clip, takes_clips(network), passes, records)
    return ClipExploration(shown, queries)
