"""`atlas`: all heads of a network on one picture, or several, under a notebook's cell."""

import html
import warnings
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from torch import Tensor, nn

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
from nonlocal_lens.analysis.head_means import HeadMeans
from nonlocal_lens.analysis.images import ImageSource, read_with_note
from nonlocal_lens.analysis.over_dataset import left_out_sentence, named_images
from nonlocal_lens.app.atlas import payload, taken
from nonlocal_lens.app.atlas.means import means_of
from nonlocal_lens.app.atlas.payload import Subject
from nonlocal_lens.app.batch.writing import write_atomically
from nonlocal_lens.models.libraries import LibraryName

if TYPE_CHECKING:
    import pandas as pd

HEIGHT = 760  # pixels of the frame under a cell


class NetworkAtlas:
    """All heads of one network on one picture, or with the means over several.

    At the end of a cell it is the wall; `table`, `figure` and `save` take it away.

    Attributes:
        heads: What was recorded and measured of every head, in the order in which they ran.
    """

    def __init__(self, subject: Subject, heads: list[MeasuredHead], view: dict[str, Any]) -> None:
        self.heads = heads
        self._subject, self._view = subject, view

    @cached_property
    def table(self) -> "pd.DataFrame":
        """A row for every head: layer, block, call, head, its twin, and every statistic."""
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
    images: ImageSource | Iterable[ImageSource],
    *,
    query: tuple[float, float] | None = None,
    statistic: str = HEAD_STATISTICS[0],
    order: Order = "highest",
    grouped: bool = True,
    shown: HeadMap = "whole",
) -> NetworkAtlas:
    """Show all heads of a network on one picture: point at it, and every head answers.

    Of several pictures, numbers, mean rows and unary maps are means over them, and the first one is
    what you point at. They are looked at one at a time, so that an iterator of any length will do.

    >>> wall = atlas("timm:vit_tiny_patch16_224?pretrained=false&depth=2", "street.png")
    >>> wall.table.sort_values("unary_information_share")  # a row for every head
    >>> wall.save("wall.html")

    Args:
        network: The name of a network, a file of weights, or any module that `analysis.capture`
            can read.
        images: An image, see `analysis.images.read_image`; or several, as a folder, whose pictures
            are read in natural order of their names, a list, or any other iterable.
        query: Where it opens, (x, y) in image pixels; in the middle if not given.
        statistic: The number of every head, a name of `analysis.atlas.HEAD_STATISTICS`.
        order: "highest" or "lowest" number first, or "layer" for the network's order.
        grouped: Whether every layer has a row of its own.
        shown: The map of every head: "whole", "pairwise", "unary", or "mean" for its mean row.

    Raises:
        FileNotFoundError: An image or a file of weights does not exist.
        ValueError: A name or a choice is unknown, an image cannot be used or there is none, or the
            network has no attention with places in it.
    """
    known = {"statistic": (statistic, HEAD_STATISTICS), "order": (order, ORDERS)}
    for what, (value, choices) in {**known, "shown": (shown, HEAD_MAPS)}.items():
        if value not in choices:
            raise ValueError(f"unknown {what} {value!r}; available: {', '.join(choices)}")
    module = loaded(network)
    view = {"statistic": statistic, "order": order, "grouped": grouped, "map": shown}
    if query is not None:
        view["query"] = [float(number) for number in query]
    if isinstance(images, str | Path) and Path(images).is_dir():
        subject, heads = _averaged(network, module, images)
    elif isinstance(images, str | Path | bytes | Image.Image | np.ndarray | Tensor):
        name = Path(images).name if isinstance(images, str | Path) else "image"
        subject = _subject(network, module, images, name)
        heads = measure_heads(subject.records)
    else:
        subject, heads = _averaged(network, module, images)
    return NetworkAtlas(subject, heads, view)


def _subject(network: Network, module: nn.Module, image: ImageSource, name: str) -> Subject:
    """Look at one image.

    Raises:
        ValueError: It cannot be used, or the network has no attention with places in it.
    """
    pixels, _ = read_with_note(image)
    title = title_of(network)
    records = placed(observe(module, pixels).records)
    if not records:
        raise ValueError(f"{title} has no attention block with places in the picture")
    named = None if isinstance(network, Path) or not isinstance(network, str) else network
    library = LibraryName.read(named) if named else None
    provenance = getattr(module, "provenance", None) or {}
    return Subject(
        title,
        pixels,
        name,
        f"The picture {name}",
        records,
        str(provenance.get("sha256", "")),
        library is not None and library.is_random,
    )


def _averaged(
    network: Network, module: nn.Module, images: str | Path | Iterable[ImageSource]
) -> tuple[Subject, list[MeasuredHead]]:
    """Look at several images, one at a time; return the first with the means over all."""
    found, left_out = HeadMeans(), dict[str, str]()
    first: Subject | None = None
    for name, image, _ in named_images(images, left_out):
        called = f"image {int(name) + 1}" if name.isdecimal() else name
        subject = _subject(network, module, image, called)
        found.add(subject.records)
        first = first or subject
    if left_out:
        warnings.warn(left_out_sentence(left_out), stacklevel=3)
    if first is None:
        raise ValueError("there is no image to look at")
    heads = found.over(measure_heads(first.records))
    named = f"from {first.name} on"
    if isinstance(images, str | Path):
        named = f"the folder {Path(images).name}"
    return first._replace(means=means_of(found, heads, named, first.name)), heads
