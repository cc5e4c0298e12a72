"""The page of networks that were held against references, out of `docs/verified.json`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROWS = Path(__file__).with_name("verified.json")

TITLES = {
    "timm": "timm",
    "torchvision": "torchvision",
    "hf": "Hugging Face transformers",
    "diffusers": "diffusers",
    "own": "Blocks of this package",
}
"""Prefix of a name -> what its section is called."""

HEADER = (
    "| network | of | blocks | heads | rows off | places off | time |",
    "|---|---|--:|--:|--:|--:|--:|",
)


def verified_page() -> str:
    """Return the page: what was tried, how it agrees with references, and what is refused."""
    rows = json.loads(ROWS.read_text(encoding="utf-8"))["networks"]
    read = sum(row["outcome"] == "read" for row in rows)
    parts = [
        "# Networks that were verified",
        f"{len(rows)} families of networks were built small, with random weights, and captured: "
        f"of {read} all attention is read. `python -m nonlocal_lens.analysis.verify --all` builds "
        "them anew and writes this table; with names instead of `--all`, rows of these alone.",
        "Rows off\n: largest difference of a weight from the network's own, over the largest "
        "weight of its row. The network's own are those that its softmaxes give out in a plain "
        "run, listened to by code that knows nothing of how attention is traced.",
        "Places off\n: pixels of a few cells are replaced, and so far from them, in cells, lies "
        "the query or key that changes most; 1 is what features of neighbors that overlap give. "
        "Asked of the first block, before attention carries anything elsewhere.",
        "Time\n: of a capture over that of a forward pass. These networks are tiny, so that what "
        "a capture costs whatever the size counts most: {doc}`../benchmarks` has real ones.",
    ]
    for prefix, title in TITLES.items():
        own = [row for row in rows if row["network"].startswith(f"{prefix}:")]
        if own:
            parts += [f"## {title}", _dated(own), "\n".join([*HEADER, *map(_line, own)])]
    left_out = [row for row in rows if row["sentences"]]
    parts += [
        "## What is left out, and why",
        "In the words of the warning that each of them gives.",
        "\n".join(entry for row in left_out for entry in _entry(row)),
    ]
    return "\n\n".join(parts) + "\n"


def _dated(rows: list[Mapping[str, Any]]) -> str:
    """Return of which versions rows are, and from which days."""
    versions = ", ".join(sorted({row["library"] for row in rows}))
    days = sorted({row["date"] for row in rows})
    return f"{versions}; {' to '.join(dict.fromkeys((days[0], days[-1])))}."


def _line(row: Mapping[str, Any]) -> str:
    name = row["network"].partition(":")[2]
    if not row["heads"]:
        return f"| {name} | {row['kind']} | {row['outcome']} | | | | |"
    places = "none" if row["cells"] is None else row["cells"]
    marked = "" if row["outcome"] == "read" else f" ({row['outcome']})"
    return (
        f"| {name}{marked} | {row['kind']} | {row['blocks']} | {row['heads']} | {row['error']:.0e} "
        f"| {places} | {row['slowdown']:.1f} |"
    )


def _entry(row: Mapping[str, Any]) -> Iterator[str]:
    yield f"- {row['network']}"
    for sentence in row["sentences"]:
        yield f"  - {sentence}"
