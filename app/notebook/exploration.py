"""`explore`: the viewer under a cell, and what it shows as records, table, figure and files."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
import traitlets
from matplotlib.figure import Figure
from torch import nn

from analysis import degeneracy, record_file
from analysis.capture import Observation, observe
from analysis.clips import ClipSource
from analysis.compare import Network, loaded, title_of
from analysis.degeneracy import DegeneracyReport
from analysis.figures import Look, attention_figure
from analysis.figures.panels import Scene
from analysis.images import ImageSource
from analysis.query_map import most_different
from analysis.record import AttentionRecord
from analysis.vectors import VectorDistances, vector_distances
from app import PRODUCT
from app.batch.inputs import Picture, Source, safe_name
from app.export.page import page_bytes
from app.export.provenance import versions
from app.export.seeing import Seen, predicted_classes
from app.networks import weights_path
from app.notebook.clip_exploration import ClipExploration, clip_for, explore_clip, is_moving
from app.notebook.lens import Lens, module, record_to_show, report_row, unlike
from app.viewer import payload as packing
from app.viewer.bundle import viewer_css, viewer_js
from app.viewer.payload import pack_all
from models.file_hash import file_sha256

if TYPE_CHECKING:
    import pandas as pd

HERE = Path(__file__).parent

Query = int | tuple[float, float]
"""A flat position of the query grid, or a point (x, y) in image pixels."""

ClipQuery = tuple[int, float, float]
"""A frame of a clip and a point (x, y) in image pixels."""


@dataclass(frozen=True, eq=False)
class Shown:
    """One network on the image."""

    observation: Observation
    record: AttentionRecord  # the one that the viewer shows
    vectors: dict[str, VectorDistances]  # of its blocks, by name
    sha256: str = ""  # of the weights, where they are a file

    def measure(self, record: AttentionRecord) -> DegeneracyReport:
        """Return the degeneracy of one of the network's records."""
        return degeneracy.measure(record, vectors=self.vectors.get(record.block))


class Exploration(Lens[Shown]):
    """The viewer under a cell, alive; as a still picture with numbers where no widget runs.

    Attributes:
        queries: The pinned queries as flat positions of the first network's query grid. Pinning in
            the viewer sets them, setting them pins: `observe(..., names="queries")` tells of both.
            Points (x, y) in image pixels may be set, too.
    """

    _esm = module(viewer_css(), viewer_js(HERE / "shadow.js", HERE / "widget.js"))
    payload = traitlets.Bytes().tag(sync=True)

    def __init__(self, shown: dict[str, Shown], queries: Sequence[Query], name: str) -> None:
        self._name = name
        super().__init__(
            shown,
            payload=pack_all(
                next(iter(shown.values())).observation.image,
                [
                    packing.Shown(title, one.record, _packable(one.observation).output, one.sha256)
                    for title, one in shown.items()
                ],
                alt=f"The image {name}",
                name=name,
            ),
            queries=list(queries),
        )

    @traitlets.validate("queries")
    def _positions(self, proposal: dict[str, Any]) -> list[int]:
        return [self._position(query) for query in proposal["value"]]

    def _position(self, query: Query) -> int:
        grid = self._first.record.query_grid
        if isinstance(query, Integral):
            return grid.position(grid.cell(int(query)))
        if not (isinstance(query, list | tuple) and len(query) == 2):
            raise ValueError(f"a query must be a point (x, y) or a flat position, got {query!r}")
        return grid.position(grid.cell_at(x=query[0], y=query[1]))

    @property
    def _first(self) -> Shown:
        return next(iter(self._open.values()))

    @property
    def records(self) -> tuple[AttentionRecord, ...]:
        """What the viewer shows: one record for every network, in their order."""
        return tuple(one.record for one in self._open.values())

    def report(self) -> "pd.DataFrame":
        """Return the degeneracy of every block and head of every network.

        Columns: `network`, `block`, `head`, the `analysis.degeneracy.STATISTICS` and `verdict`.
        """
        import pandas as pd

        rows = []
        for title, one in self._open.items():
            for record in one.observation.records:
                report = self._reports[title] if record is one.record else one.measure(record)
                rows.append(report_row(title, record, report))
        return pd.DataFrame(rows).astype({"head": "Int64"})

    def figure(self, *, look: Look | None = None, **options: Any) -> Figure:
        """Draw the pinned queries, or the two that differ most, as a figure fit for print.

        Args:
            look: See `analysis.figures.Look`.
            **options: Of `analysis.figures.attention_figure`, such as `shown=` or `caption=`.
        """
        records = {title: one.record for title, one in self._open.items()}
        image = self._first.observation.image
        return attention_figure(records, self._points, image=image, look=look, **options)

    def close(self) -> None:
        """Take the viewer away and let go of everything it holds."""
        super().close()
        self.payload = b""
        for name in ("_reports", "_points_of_none"):
            self.__dict__.pop(name, None)

    def _queries_in_words(self) -> list[str]:
        return [f"x {x:.0f}, y {y:.0f}" for x, y in self._points]

    def _record_files(self) -> list[tuple[str, AttentionRecord]]:
        return [(safe_name(title), one.record) for title, one in self._open.items()]

    @cached_property
    def _reports(self) -> dict[str, DegeneracyReport]:
        return {title: one.measure(one.record) for title, one in self._open.items()}

    @property
    def _points(self) -> list[tuple[float, float]]:
        grid = self._first.record.query_grid
        positions = self.queries or self._points_of_none
        return [grid.center(grid.cell(position)) for position in positions]

    @cached_property
    def _points_of_none(self) -> list[int]:
        """What a picture shows while nothing is pinned."""
        record = self._first.record
        try:
            return list(most_different(record))
        except ValueError:  # nothing attends to anything
            return [record.query_grid.positions // 2]

    def _page(self) -> bytes:
        first = self._first.observation
        records = {title: one.record for title, one in self._open.items()}
        seen = Seen(
            Source(self._name, self._name),
            Picture(first.image, None, sha256(first.image.tobytes()).hexdigest()),
            {title: _packable(one.observation) for title, one in self._open.items()},
            Scene(first.image, records, _predictions(self._open), None),
            self._points,
        )
        return page_bytes(seen, self._note)

    @property
    def _note(self) -> dict[str, Any]:
        """What files say about how they were made."""
        image = self._first.observation.image
        return {
            "made_by": f"{PRODUCT}, in a notebook",
            "versions": versions(),
            "image": {"name": self._name, "sha256": sha256(image.tobytes()).hexdigest()},
            "networks": [
                {"title": title, "sha256": one.sha256} for title, one in self._open.items()
            ],
            "blocks": {title: one.record.block for title, one in self._open.items()},
            "queries": self._points,
        }


def explore(
    network: Network,
    image_or_clip: ImageSource | ClipSource,
    *,
    block: str | None = None,
    head: int | None = None,
    queries: Sequence[Query | ClipQuery] | None = None,
    compare: Sequence[Network] = (),
    start: int = 0,
    stride: int | None = None,
    frames: int | None = None,
) -> Exploration | ClipExploration:
    """Show where a network looks: point at a pixel of an image or a clip, click to pin it.

    At the end of a cell, what it returns is the viewer, or the film strip:

    >>> lens = explore("streets-dnl", "street.png", compare=["streets-nl"])
    >>> lens.queries = [(240, 110)]
    >>> film = explore("clips-dnl", "street.mp4", stride=3)
    >>> film.queries = [(4, 240, 110)]

    Args:
        network: The name of a network, a file of weights, or any module that `analysis.capture`
            can read.
        image_or_clip: A path, the bytes of a file, a PIL image, an array or a tensor; see
            `analysis.images.read_image`. What moves is a clip (see `analysis.clips.read_clip`): a
            video, a folder of frames, `rendered:SEED`, a `Clip`, an array or a tensor with four
            dimensions. So is a GIF, or any file's bytes, if a network looks at clips or `start`,
            `stride` or `frames` is given. Networks that look at images see a clip frame by frame.
        block: Name of the block to show, of every network that has it; the first if None.
        head: Which head of it; the first if None.
        queries: What is pinned at first: points (x, y) in image pixels, or flat positions; in a
            clip at most one (frame, x, y).
        compare: More networks, shown beside it with one cursor and one scale; in a clip below it,
            with one query.
        start: The first frame of a clip.
        stride: From one frame of a clip to the next; spread evenly to the end if None.
        frames: How many frames of a clip at most. If None, as many as the first network that says
            so looks at, else 8; all of a `Clip`.

    Returns:
        An `Exploration` of an image, a `ClipExploration` of a clip.

    Raises:
        FileNotFoundError: The image, the clip or a file of weights does not exist.
        ValueError: A name is unknown, the image or clip cannot be used, a network looks at clips
            and this is an image, a network has no such block, or a query lies outside the image.
    """
    networks: dict[str, nn.Module] = {}
    hashes: dict[str, str] = {}
    for source in (network, *compare):
        title = unlike(networks, title_of(source))
        networks[title] = loaded(source)
        if not isinstance(source, nn.Module):
            hashes[title] = file_sha256(weights_path(str(source)))
    if is_moving(image_or_clip, networks.values(), start, stride, frames):
        clip = clip_for(networks, image_or_clip, start, stride, frames)
        return explore_clip(networks, clip, block, head, queries or ())
    image = cast("ImageSource", image_or_clip)
    shown: dict[str, Shown] = {}
    for title, one in networks.items():
        with vector_distances(one) as vectors:
            observation = observe(one, image)
        record = record_to_show(title, observation.records, block, head, first=not shown)
        shown[title] = Shown(observation, record, vectors, hashes.get(title, ""))
    name = Path(image).name if isinstance(image, str | Path) else "image"
    return Exploration(shown, cast("Sequence[Query]", queries or ()), name)


def explore_file(path: str | Path, *, queries: Sequence[Query] | None = None) -> Exploration:
    """Show your own tensors, from any framework: a record file with query, key and image.

    Args:
        path: A safetensors or .npz file, see `analysis.record_file`.
        queries: What is pinned at first: points (x, y) in image pixels, or flat positions.

    Raises:
        FileNotFoundError: The path does not exist.
        ValueError: It is no record file (the sentence names the field), or a query lies outside.
    """
    path = Path(path)
    held = record_file.read(path)
    shown = {
        title: Shown(
            Observation(held.image, torch.empty(0), (record,)), record, {}, file_sha256(path)
        )
        for title, record in held.titled.items()
    }
    return Exploration(shown, queries or (), path.name)


def _packable(observation: Observation) -> Observation:
    """Return the observation with an output that the viewer can look at: some are no tensors."""
    is_tensor = isinstance(observation.output, torch.Tensor)
    return observation if is_tensor else replace(observation, output=torch.empty(0))


def _predictions(shown: dict[str, Shown]) -> dict[str, Any]:
    found = {
        title: predicted_classes(_packable(one.observation).output, one.observation.image.shape[:2])
        for title, one in shown.items()
    }
    return {title: classes for title, classes in found.items() if classes is not None}
