"""The networks that can be loaded by name, as the command line lists them.

Nothing heavy is imported here: neither torch nor the libraries whose networks are named.
"""

from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from nonlocal_lens.app.networks import grouped
from nonlocal_lens.models.bundled import ModelCard, list_networks
from nonlocal_lens.models.download import cached
from nonlocal_lens.models.libraries import LIBRARIES
from nonlocal_lens.models.published import PUBLISHED
from nonlocal_lens.models.zoo import NETWORKS

EXAMPLES = {
    "timm": "timm:vit_base_patch16_224",
    "hf": "hf:facebook/dinov2-small",
    "torchvision": "torchvision:vit_b_16",
}
"""Prefix of a library -> a network of it."""

Row = Mapping[str, Any]


class Group(NamedTuple):
    """Networks under one heading, each with what is known about it and the cells of its line."""

    heading: str
    rows: list[tuple[Row, tuple[str, ...]]]

    def lines(self) -> Iterator[str]:
        """Yield the heading, and a line for every network with its cells in columns."""
        yield f"{self.heading}:"
        cells = [cells for _, cells in self.rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for line in cells:
            padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            yield "  " + "  ".join(padded).rstrip()


def listed(search: str = "") -> list[Group]:
    """Return all networks by group, the bundled ones first.

    Args:
        search: Words that must all stand in what is said about a network, whatever their case.
    """
    words = search.casefold().split()
    groups = [*_bundled(), *_published(), _libraries()]
    found = []
    for heading, rows in groups:
        kept = [row for row in rows if _is_found(words, heading, row)]
        if kept:
            found.append(Group(heading, kept))
    return found


def _is_found(words: list[str], heading: str, row: tuple[Row, tuple[str, ...]]) -> bool:
    about, cells = row
    said = " ".join(map(str, (heading, *about.values(), *cells))).casefold()
    return all(word in said for word in words)


def _bundled() -> Iterator[Group]:
    for heading, names in grouped(list_networks()).items():
        yield Group(heading, [_bundled_row(name) for name in names])


def _bundled_row(name: str) -> tuple[Row, tuple[str, ...]]:
    card, spec = ModelCard.read(name), NETWORKS[name]
    about = {"name": name, "task": spec.task, "title": spec.title, "summary": spec.summary}
    size = f"{card.parameters / 1e6:.1f} M parameters"
    return {**about, **vars(card), "figure": card.figure}, (name, size, card.figure, spec.summary)


def _published() -> Iterator[Group]:
    datasets = dict.fromkeys(spec.dataset for spec in PUBLISHED.values())
    for dataset in datasets:
        names = [name for name, spec in PUBLISHED.items() if spec.dataset == dataset]
        heading = f"Published, trained on {dataset}, downloaded when first loaded"
        yield Group(heading, [_published_row(name) for name in names])


def _published_row(name: str) -> tuple[Row, tuple[str, ...]]:
    spec = PUBLISHED[name]
    here = cached(spec.url).is_file()
    about = {
        "name": name,
        "title": spec.title,
        "dataset": spec.dataset,
        "metric": spec.metric,
        "score": spec.score,
        "url": spec.url,
        "license": spec.license,
        "megabytes": spec.megabytes,
        "downloaded": here,
    }
    figure = f"{spec.metric} {spec.score:.3f}"
    size = "downloaded" if here else spec.size
    return about, (name, figure, spec.title, size, spec.license)


def _libraries() -> Group:
    rows: list[tuple[Mapping[str, Any], tuple[str, ...]]] = []
    for prefix, package in LIBRARIES.items():
        try:
            state = f"{package} {version(package)}"
        except PackageNotFoundError:
            state = f"pip install nonlocal-lens[{package}]"
        about = {"name": f"{prefix}:NAME", "title": f"any network of {package}", "library": package}
        rows.append((about, (f"{prefix}:NAME", f"such as {EXAMPLES[prefix]}", state)))
    return Group("Libraries, any of their networks by name", rows)
