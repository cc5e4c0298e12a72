"""`atlas`: all heads of a network on one picture, under a notebook's cell."""

import html
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nonlocal_lens.analysis.atlas import (
    HEAD_MAPS,
    HEAD_STATISTICS,
    ORDERS,
    HeadMap,
    MeasuredHead,
    Order,
    heads_table,
    measure_heads,
    placed,
)
from nonlocal_lens.analysis.capture import observe
from nonlocal_lens.analysis.compare import Network, loaded, title_of
from nonlocal_lens.analysis.figures.files import PrintFigure
from nonlocal_lens.analysis.figures.look import Look
from nonlocal_lens.analysis.images import ImageSource, read_with_note
from nonlocal_lens.app.atlas import payload, taken
from nonlocal_lens.app.atlas.payload import Subject
from nonlocal_lens.app.batch.writing import write_atomically
from nonlocal_lens.models.libraries import LibraryName

if TYPE_CHECKING:
    import pandas as pd

HEIGHT = 760  # pixels of the frame under a cell


class NetworkAtlas:
    """All heads of one network on one picture.

    At the end of a cell it is the wall; `table`, `figure` and `save` take it away.

    Attributes:
        heads: What was recorded and measured of every head, in the order in which they ran.
    """

    def __init__(self, subject: Subject, heads: list[MeasuredHead], view: dict[str, Any]) -> None:
        self.heads = heads
        self._subject, self._view = subject, view

    @cached_property
    def table(self) -> "pd.DataFrame":
        """A row for every head: layer, block, head, its twin, and every statistic."""
        return heads_table(self.heads)

    def figure(self, *, look: Look | None = None) -> PrintFigure:
        """Return the wall as a figure for print; see `analysis.figures.Look`."""
        point = taken.point_of(self._subject, self._view)
        return taken.figure(self._subject, self.heads, self._view, point, look)

    def page(self) -> bytes:
        """Return the wall as an HTML page that works offline."""
        every = payload.parts(self._subject.records)
        others = [
            payload.part(self._subject, number, [self.heads[index] for index in indices])
            for number, indices in enumerate(every)
        ]
        buffers = [payload.first_part(self._subject), *others]
        return taken.html_page(self._subject, buffers, self._view)

    def save(self, path: str | Path) -> None:
        """Write the wall to a file: .html, .png, .svg, .pdf, or .csv for the table.

        Raises:
            ValueError: The name ends in something else.
        """
        path = Path(path)
        kind = path.suffix.lower().removeprefix(".")
        if kind == "html":
            data = self.page()
        elif kind == "csv":
            data = taken.table_csv(self._subject, self.heads)
        elif kind in ("png", "svg", "pdf"):
            point = taken.point_of(self._subject, self._view)
            data = taken.figure_file(self._subject, self.heads, self._view, point, kind)
        else:
            raise ValueError(f"a wall is saved as html, png, svg, pdf or csv, got {path.name!r}")
        write_atomically(path, data, replace=True)

    def _repr_html_(self) -> str:
        """Return a frame with the page: what a notebook shows, also without a kernel."""
        page = html.escape(self.page().decode(), quote=True)
        title = html.escape(f"All heads of {self._subject.title}", quote=True)
        return (
            f'<iframe title="{title}" srcdoc="{page}" width="100%" height="{HEIGHT}" '
            'style="border: 0"></iframe>'
        )

    def __repr__(self) -> str:
        layers = len({head.layer for head in self.heads})
        return f"{self._subject.title}: {len(self.heads)} heads in {layers} layers"


def atlas(
    network: Network,
    image: ImageSource,
    *,
    query: tuple[float, float] | None = None,
    statistic: str = HEAD_STATISTICS[0],
    order: Order = "highest",
    grouped: bool = True,
    shown: HeadMap = "whole",
) -> NetworkAtlas:
    """Show all heads of a network on one picture: point at it, and every head answers.

    >>> wall = atlas("timm:vit_tiny_patch16_224?pretrained=false&depth=2", "street.png")
    >>> wall.table.sort_values("unary_information_share")  # a row for every head
    >>> wall.save("wall.html")

    Args:
        network: The name of a network, a file of weights, or any module that `analysis.capture`
            can read.
        image: See `analysis.images.read_image`.
        query: Where it opens, (x, y) in image pixels; in the middle if not given.
        statistic: The number of every head, a name of `analysis.atlas.HEAD_STATISTICS`.
        order: "highest" or "lowest" number first, or "layer" for the network's order.
        grouped: Whether every layer has a row of its own.
        shown: The map of every head: "whole", "pairwise", "unary", or "mean" for its mean row.

    Raises:
        FileNotFoundError: The image or a file of weights does not exist.
        ValueError: A name or a choice is unknown, the image cannot be used, or the network has no
            attention with places in it.
    """
    image_read, _ = read_with_note(image)
    module = loaded(network)
    title, name = title_of(network), "image"
    if isinstance(image, str | Path):
        name = Path(image).name
    records = placed(observe(module, image_read).records)
    if not records:
        raise ValueError(f"{title} has no attention block with places in the picture")
    known = {"statistic": (statistic, HEAD_STATISTICS), "order": (order, ORDERS)}
    for what, (value, choices) in {**known, "shown": (shown, HEAD_MAPS)}.items():
        if value not in choices:
            raise ValueError(f"unknown {what} {value!r}; available: {', '.join(choices)}")
    named = None if isinstance(network, Path) or not isinstance(network, str) else network
    library = LibraryName.read(named) if named else None
    provenance = getattr(module, "provenance", None) or {}
    subject = Subject(
        title,
        image_read,
        name,
        f"The picture {name}",
        records,
        str(provenance.get("sha256", "")),
        library is not None and library.is_random,
    )
    view = {"statistic": statistic, "order": order, "grouped": grouped, "map": shown}
    if query is not None:
        view["query"] = [float(number) for number in query]
    return NetworkAtlas(subject, measure_heads(records), view)
