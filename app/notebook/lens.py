"""What stands under a cell: alive where a widget runs, a still picture with numbers elsewhere."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from uuid import uuid4

import anywidget
import traitlets
from matplotlib.figure import Figure

from analysis import degeneracy
from analysis.degeneracy import DegeneracyReport
from analysis.figures import Look, figure_bytes
from analysis.record import AttentionRecord
from app.batch.writing import write_whole
from app.export.seeing import choose_record
from app.notebook.still import still_html, still_text

if TYPE_CHECKING:
    import pandas as pd

HERE = Path(__file__).parent

Shown = TypeVar("Shown")
"""What there is of one network."""


class Lens(anywidget.AnyWidget, Generic[Shown]):
    """Networks under a cell: what `explore` returns, of an image and of a clip.

    Attributes:
        queries: What is pinned. Pinning under the cell sets them, setting them pins:
            `observe(..., names="queries")` tells of both.
    """

    static_class = traitlets.Unicode().tag(sync=True)
    queries: Any = traitlets.List().tag(sync=True)

    def __init__(self, shown: dict[str, Shown], **state: Any) -> None:
        self._shown = shown
        super().__init__(static_class=f"nonlocal-lens-{uuid4().hex}", **state)

    @property
    def _open(self) -> dict[str, Shown]:
        if not self._shown:
            raise ValueError("this exploration was closed: call explore again")
        return self._shown

    def report(self) -> "pd.DataFrame":
        """Return the degeneracy of every block and head of every network."""
        raise NotImplementedError

    def figure(self, *, look: Look | None = None) -> Figure:
        """Draw what is pinned as a figure fit for print."""
        raise NotImplementedError

    def to_html(self, path: str | Path) -> Path:
        """Write what is alive under the cell as one HTML file that works offline; return its path.

        Raises:
            OSError: The file cannot be written.
        """
        path = Path(path)
        write_whole(path, self._page(), replace=True)
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
        for name, record in self._record_files():
            paths.append(folder / f"{name}.safetensors")
            record.save(paths[-1])
        figure = self.figure()
        files = {
            **{f"{name}.csv": table.to_csv(index=False).encode() for name, table in self._tables()},
            "figure.pdf": figure_bytes(figure, "pdf", note=self._note),
            "figure.png": figure_bytes(figure, "png", note=self._note),
            "viewer.html": self._page(),
        }
        for name, data in files.items():
            paths.append(folder / name)
            write_whole(paths[-1], data, replace=True)
        return paths

    def close(self) -> None:
        """Take what is under the cell away and let go of everything it holds."""
        super().close()
        self._shown = {}

    def _repr_html_(self) -> str:
        """Return the still picture and the numbers."""
        words = self._queries_in_words()
        return still_html(self._picture(), self._reports, words, self.static_class)

    def _ipython_display_(self) -> None:
        """Show the viewer, and the still picture, which it hides wherever it comes alive.

        Two outputs, because of one output only one representation would be shown: exporters that
        know widgets would leave out the picture and then fetch scripts that are not there offline.
        """
        from IPython.display import publish_display_data

        bundle = cast("tuple[dict[str, Any], dict[str, Any]]", self._repr_mimebundle_())[0]
        publish_display_data({**bundle, "text/plain": "", "text/html": ""})
        if self._shown:
            publish_display_data(
                {
                    "text/html": self._repr_html_(),
                    "image/png": self._picture(),
                    "text/plain": still_text(self._reports),
                }
            )

    def _picture(self) -> bytes:
        figure = self.figure(look=Look(dpi=100, width_in=8))
        png: bytes = figure._repr_png_()  # type: ignore[attr-defined]
        return png

    def _tables(self) -> Iterable[tuple[str, "pd.DataFrame"]]:
        return [("report", self.report())]

    @property
    def _reports(self) -> Mapping[str, DegeneracyReport]:
        """The numbers under the still picture, by what they are of."""
        raise NotImplementedError

    @property
    def _note(self) -> dict[str, Any]:
        """What files say about how they were made."""
        raise NotImplementedError

    def _queries_in_words(self) -> Sequence[str]:
        raise NotImplementedError

    def _record_files(self) -> Iterable[tuple[str, AttentionRecord]]:
        raise NotImplementedError

    def _page(self) -> bytes:
        raise NotImplementedError


def module(style: str, code: str) -> str:
    """Return a widget's JavaScript module, with its style and the notebook's theme in it."""
    style += (HERE / "widget.css").read_text(encoding="utf-8")
    return f"const STYLE = {json.dumps(style)};\n{code}"


def report_row(network: str, record: AttentionRecord, report: DegeneracyReport) -> dict[str, Any]:
    """Return a row of a table: where a record is from and what was measured."""
    numbers = {name: getattr(report, name) for name in degeneracy.STATISTICS}
    where = {"network": network, "block": record.block, "head": record.head}
    return {**where, **numbers, "verdict": report.verdict}


def record_to_show(
    title: str,
    records: tuple[AttentionRecord, ...],
    block: str | None,
    head: int | None,
    *,
    first: bool,
) -> AttentionRecord:
    """Return the record of the block and head that are asked for.

    Args:
        title: What the network is called.
        records: All of its records.
        block: See `explore`.
        head: See `explore`.
        first: Whether this is the first network: others need not have the block.

    Raises:
        ValueError: There is none.
    """
    if not records:
        raise ValueError(f"{title} has no attention block that capture can read")
    wanted = block if first or any(record.block == block for record in records) else None
    return choose_record(records, wanted, head if wanted == block else None)


def unlike(taken: Mapping[str, Any], title: str) -> str:
    """Return a title that is not taken: networks of one class differ by number."""
    number, other = 1, title
    while other in taken:
        number += 1
        other = f"{title} ({number})"
    return other
