"""The viewer under a cell, and what it shows as records, tables, figure and files."""

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import anywidget
import traitlets
from matplotlib.figure import Figure

from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.clips import Clip
from nonlocal_lens.analysis.degeneracy import DegeneracyReport
from nonlocal_lens.analysis.figures import Look, attention_figure, figure_bytes
from nonlocal_lens.analysis.figures.panels import DEFAULT_SHOWN, Shown
from nonlocal_lens.analysis.figures.queries import QuerySpec, query_at
from nonlocal_lens.analysis.query_map import most_different
from nonlocal_lens.analysis.scene import Place, Scene, flow_of
from nonlocal_lens.app import PRODUCT
from nonlocal_lens.app.batch.inputs import Source, safe_name
from nonlocal_lens.app.batch.writing import write_atomically
from nonlocal_lens.app.export.layouts import noted
from nonlocal_lens.app.export.options import Options
from nonlocal_lens.app.export.outputs import record_parts
from nonlocal_lens.app.export.page import page_bytes, payload_of
from nonlocal_lens.app.export.provenance import versions
from nonlocal_lens.app.export.scene import Subject, places_of
from nonlocal_lens.app.export.strip import strips
from nonlocal_lens.app.notebook.passes import NetworkPasses, over_time_table, report_table
from nonlocal_lens.app.notebook.pins import clip_query_of, position_of
from nonlocal_lens.app.notebook.still import still_html, still_text
from nonlocal_lens.app.viewer.bundle import viewer_css, viewer_js
from nonlocal_lens.app.viewer.view import MOST_QUERIES

if TYPE_CHECKING:
    import pandas as pd

HERE = Path(__file__).parent

AUTO = QuerySpec.parse("auto:1")
"""What a clip shows while nothing is pinned: the query whose row differs most from the rest."""


def _module() -> str:
    """Return the widget's JavaScript module, with its style and the notebook's theme in it."""
    style = viewer_css() + (HERE / "widget.css").read_text(encoding="utf-8")
    code = viewer_js(HERE / "shadow_root.js", HERE / "widget.js")
    return f"const STYLE = {json.dumps(style)};\n{code}"


class Exploration(anywidget.AnyWidget):
    """The viewer under a cell, alive; as a still picture with numbers where no widget runs.

    Attributes:
        queries: What is pinned: of a picture indices of the first network's query axis, which are
            flat positions of a whole grid (points (x, y) in image pixels and names of tokens, like
            "class", may be set, too), of a clip some (frame, x, y) or (frame, token), the frame
            counted from 0 among those that are looked at. Pinning in the viewer sets them, setting
            them pins: `observe(..., names="queries")` tells of both.
        frames: How many frames are looked at.
        note: How the input was read, where that had to be decided; else empty.
    """

    _esm = _module()
    payload = traitlets.Bytes().tag(sync=True)
    static_class = traitlets.Unicode().tag(sync=True)
    queries: Any = traitlets.List().tag(sync=True)
    frames = traitlets.Int()
    note = ""

    def __init__(
        self,
        clip: Clip,
        explored: dict[str, NetworkPasses],
        queries: Sequence[Any],
        *,
        is_clip: bool,
    ) -> None:
        records = {title: one.shown for title, one in explored.items()}
        flow = flow_of(clip.frames, records) if is_clip else None
        scene = Scene(clip.frames, clip.times if is_clip else None, records, flow=flow)
        outputs = {title: one.output for title, one in explored.items()}
        self._explored, self.note = explored, clip.note
        self._subject: Subject | None = Subject(
            Source(clip.name, clip.name), clip, scene, [], outputs
        )
        self._measured: dict[str, DegeneracyReport] = {}
        hashes = {title: one.sha256 for title, one in explored.items()}
        alt = f"The {'clip' if is_clip else 'image'} {clip.name}"
        super().__init__(
            static_class=f"nonlocal-lens-{uuid4().hex}",
            payload=payload_of(self._subject, hashes, alt=alt),
            frames=len(clip),
            queries=list(queries),
        )

    # ------------------------------------------------------------------ what is looked at

    @property
    def _open(self) -> Subject:
        if self._subject is None:
            raise ValueError("this exploration was closed: call explore again")
        return self._subject

    @property
    def is_clip(self) -> bool:
        """Whether the input is looked at as a clip."""
        return self._open.scene.is_clip

    @property
    def clip(self) -> Clip:
        """The frames that are looked at; a picture is one."""
        return self._open.clip

    @property
    def records(self) -> Any:
        """What the viewer shows: of a picture one record for every network, in their order.

        Of a clip the records of every network by its title: a network that looks at clips has one,
        whose grids have frames (or one of each group of frames that its block sees at a time); one
        that looks at images has one for every frame.
        """
        of_networks = self._open.scene.records
        if self.is_clip:
            return {title: over.records for title, over in of_networks.items()}
        return tuple(over.first for over in of_networks.values())

    # ------------------------------------------------------------------ what is pinned

    @traitlets.validate("queries")
    def _checked(self, proposal: dict[str, Any]) -> list[Any]:
        given = proposal["value"]
        if not self.is_clip:
            return [position_of(query, self._axis) for query in given]
        if len(given) > MOST_QUERIES:
            raise ValueError(f"at most {MOST_QUERIES} queries can be pinned, got {len(given)}")
        axes = [over.first.query_axis for over in self._open.scene.records.values()]
        return [clip_query_of(query, len(self.clip), axes) for query in given]

    @property
    def _axis(self) -> Axis:
        return self._open.scene.first.first.query_axis

    @property
    def _places(self) -> list[Place]:
        """What is pinned or, where nothing is, what differs most."""
        if not self.queries:
            return self._most_different
        if self.is_clip:
            return [
                Place(frame, *spot) if len(spot) == 2 else Place.of(spot[0], frame)
                for frame, *spot in self.queries
            ]
        return [Place.of(query_at(self._axis, position)) for position in self.queries]

    @cached_property
    def _most_different(self) -> list[Place]:
        scene, axis = self._open.scene, self._axis
        try:
            if self.is_clip:
                return places_of(scene, [AUTO])
            chosen = most_different(scene.first.first)
            return [Place.of(query_at(axis, index)) for index in chosen]
        except ValueError:  # nothing attends to anything
            height, width = scene.frames.shape[1:3]
            if self.is_clip:
                return [Place(len(self.clip) // 2, width / 2, height / 2)]
            return [Place.of(query_at(axis, axis.counting // 2))]

    # ------------------------------------------------------------------ tables

    def report(self) -> "pd.DataFrame":
        """Return the degeneracy of every block, run and head of every network.

        Columns: `network`, of a clip `frame`, `block`, `call` (which run of it), `head`, the
        `analysis.degeneracy.STATISTICS`, `token_shares` (of each key that is no place, in words)
        and `verdict`. A network that looks at clips has a row for
        each block, of all frames together (`frame` is missing); one that looks at images has a row
        for each frame.
        """
        return report_table(self._explored, self.is_clip)

    def over_time(self) -> "pd.DataFrame":
        """Return how degenerate every block, run and head of a network is frame by frame.

        A row for every frame of the block's grid; see `analysis.over_time`. Columns: `network`,
        `block`, `call`, `head`, `frame`, `time_s` (of the frame in the middle of those it
        stands for),
        `unary_share`, `query_information_bits` and `cosine_distance` of the frame's queries, and
        `drift_nats` of the unary map from the frame before, missing in the first.
        """
        return over_time_table(self._explored, self.clip)

    @property
    def _reports(self) -> Mapping[str, DegeneracyReport]:
        """The numbers of what is shown, of the first query's frame where frames have their own."""
        frame = self._places[0].frame
        found = {}
        for title, one in self._explored.items():
            several = len(one.shown.records) > 1
            name = f"{title}, frame {frame}" if several else title
            if self.is_clip and not several and not one.shown.of_clips:
                name = f"{title}, frame {frame}"
            if name not in self._measured:
                record, _ = one.shown.at(frame)
                run = one.passes[0 if one.shown.of_clips else frame]
                self._measured[name] = run.measure(record)
            found[name] = self._measured[name]
        return found

    # ------------------------------------------------------------------ figure and files

    def figure(
        self,
        *,
        look: Look | None = None,
        shown: Sequence[Shown] = DEFAULT_SHOWN,
        track: bool = False,
        **options: Any,
    ) -> Figure:
        """Draw what is pinned, or what differs most, as a figure fit for print.

        Of a picture a row per query; of a clip the contact sheet of the first query.

        Args:
            look: See `analysis.figures.Look`; in a clip `arrows` go to the strongest keys of all
                frames.
            shown: What stands in the columns, of a clip in the rows.
            track: Of a clip: let the query move with the picture (optical flow) instead of staying,
                in networks that look at images.
            **options: Of a picture: those of `analysis.figures.attention_figure`, like `caption=`.

        Raises:
            ValueError: A choice that pictures or clips do not have, or the figure is too narrow.
        """
        subject, scene = self._open, self._open.scene
        if not self.is_clip:
            if track:
                raise ValueError("track is for clips, and this is a picture")
            records = {title: over.first for title, over in scene.records.items()}
            queries = [place.query for place in self._places]
            image = scene.frames[0]
            return attention_figure(
                records, queries, image=image, look=look, shown=shown, **options
            )
        if options:
            raise ValueError(f"figures of clips have no option {next(iter(options))!r}")
        look = look or Look()
        Options(("clip",), tuple(scene.records), terms=tuple(shown), look=look).check_clips()
        if track and scene.flow is None:
            raise ValueError("track is for networks that look at images; these look at clips")
        tracked = scene if track else replace(scene, flow=None)
        (strip,) = strips(
            replace(subject, scene=tracked, places=self._places[:1]), tuple(shown), look
        )
        return strip.figure

    def to_html(self, path: str | Path) -> Path:
        """Write what is alive under the cell as one HTML file that works offline; return its path.

        Raises:
            OSError: The file cannot be written.
        """
        path = Path(path)
        write_atomically(path, self._page(), replace=True)
        return path

    def save(self, folder: str | Path) -> list[Path]:
        """Write all there is into a folder: records, numbers, figure, viewer.

        `NETWORK.safetensors` for every network (`AttentionRecord.load` reads it; of a clip that is
        looked at frame by frame one of each frame, `NETWORK.f000.safetensors`), `report.csv` (and
        `over_time.csv` of a clip), `figure.pdf`, `figure.png` and `viewer.html`. Files of these
        names are replaced.

        Returns:
            The paths of the files.

        Raises:
            OSError: The folder cannot be written to.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for path, data in self._files():
            paths.append(folder / path)
            write_atomically(paths[-1], data, replace=True)
        return paths

    def _files(self) -> Iterator[tuple[str, bytes]]:
        for title, over in self._open.scene.records.items():
            for part, record in record_parts(over):
                yield f"{safe_name(title)}{part}.safetensors", record.to_bytes()
        yield "report.csv", self.report().to_csv(index=False).encode()
        if self.is_clip:
            yield "over_time.csv", self.over_time().to_csv(index=False).encode()
        figure = self.figure()
        for kind in ("pdf", "png"):
            yield f"figure.{kind}", figure_bytes(figure, kind, note=self._note)
        yield "viewer.html", self._page()

    def _page(self) -> bytes:
        places = self._places if self.queries or not self.is_clip else []
        return page_bytes(replace(self._open, places=places), self._note)

    @property
    def _note(self) -> dict[str, Any]:
        """What files say about how they were made."""
        clip, known = self.clip, {"name": self.clip.name, "sha256": self.clip.sha256}
        known |= {"note": self.note} if self.note and not self.is_clip else {}
        places = self._places
        return {
            "made_by": f"{PRODUCT}, in a notebook",
            "versions": versions(),
            **(
                {"clip": {**known, "frames": list(clip.indices)}}
                if self.is_clip
                else {"image": known}
            ),
            "networks": [
                {"title": title, "sha256": one.sha256} for title, one in self._explored.items()
            ],
            "blocks": {t: over.first.block for t, over in self._open.scene.records.items()},
            "queries": [
                list(place[:3]) if self.is_clip else noted(place.query) for place in places
            ],
        }

    def close(self) -> None:
        """Take what is under the cell away and let go of everything it holds."""
        super().close()
        self._subject = None
        self._explored, self._measured = {}, {}
        self.payload = b""
        self.__dict__.pop("_most_different", None)

    # ------------------------------------------------------------------ where no widget runs

    def _repr_html_(self) -> str:
        """Return the still picture and the numbers."""
        return self._still() + self._told

    @property
    def _told(self) -> str:
        return f"<p><small>{html.escape(self.note)}.</small></p>" if self.note else ""

    def _still(self) -> str:
        words = [place.words for place in self._places]
        if self.is_clip:
            words = [f"frame {self._places[0].frame}, {words[0]}"]
        return still_html(self._picture(), self._reports, words, self.static_class)

    def _ipython_display_(self) -> None:
        """Show the viewer, and the still picture, which it hides wherever it comes alive.

        Two outputs, because of one output only one representation would be shown: exporters that
        know widgets would leave out the picture and then fetch scripts that are not there offline.
        """
        from IPython.display import publish_display_data

        bundle = cast("tuple[dict[str, Any], dict[str, Any]]", self._repr_mimebundle_())[0]
        publish_display_data({**bundle, "text/plain": "", "text/html": ""})
        if self._subject is not None:
            publish_display_data(
                {
                    "text/html": self._still(),
                    "image/png": self._picture(),
                    "text/plain": still_text(self._reports),
                }
            )
            if self.note:  # under the viewer, too, which hides the still picture
                publish_display_data({"text/html": self._told, "text/plain": self.note})

    def _picture(self) -> bytes:
        figure = self.figure(look=Look(dpi=100, width_in=8))
        png: bytes = figure._repr_png_()  # type: ignore[attr-defined]
        return png
