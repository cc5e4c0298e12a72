"""Pages of the site that are made from the code: statistics, networks, notebooks, modules."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import torch

from analysis import AttentionRecord, degeneracy
from analysis.catalog import STATISTICS
from analysis.degeneracy import DegeneracyReport
from analysis.grid import Grid
from models import list_networks
from models.checkpoint import WEIGHTS
from models.published import PUBLISHED
from models.zoo import NETWORKS

ROOT = Path(__file__).parents[1]

IN_THE_PAPER = {
    "unary_share": "Nobody's: a consequence of the split of Yin et al. 2020.",
    "query_information_bits": "Nobody's: the generalized Jensen-Shannon divergence of all rows.",
    "cosine_distance": "GCNet's `att`, unchanged: the pairs of a row with itself are in it.",
    "jsd_nats": "GCNet's `JSD-att`; over random pairs where there are many, with standard error.",
    "input_cosine_distance": "GCNet's `input`, unchanged.",
    "output_cosine_distance": "GCNet's `output`: of what the block adds, not of the sum.",
    "query_cosine_distance": "GCNet's distance, of vectors that its table does not have.",
    "key_cosine_distance": "GCNet's distance, of vectors that its table does not have.",
    "effective_rank": "Roy and Vetterli 2007; of a random sample of rows where there are many.",
}
"""Where a statistic comes from, and how ours differs."""

STANDARD = "A common measure; the papers' tables do not have it."

ROOMS = {
    "analysis": (
        "capture",
        "record",
        "grid",
        "terms",
        "degeneracy",
        "compare",
        "over_dataset",
        "watch",
        "interventions",
        "effects",
        "attribution",
        "consistency",
        "query_map",
        "plots",
        "images",
        "adapters.adapter",
        "figures.paper",
        "figures.look",
    ),
    "models": ("checkpoint", "preprocess", "blocks.attention_block", "networks.insert"),
    "app": ("notebook.exploration", "notebook.clip_exploration", "notebook.lens"),
}
"""Modules whose docstrings are the reference."""


def write(folder: Path) -> None:
    """Write all generated pages, anew; what did not change keeps its time, so builds stay quick."""
    pages = {
        "statistics.md": statistics_page(),
        "networks.md": networks_page(),
        "notebooks.md": notebooks_page(),
        **{f"reference-{room}.md": reference_page(room) for room in ROOMS},
    }
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        pages[path.name] = path.read_text(encoding="utf-8")
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.name not in pages and path.is_file():
            path.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def statistics_page() -> str:
    """Return the reference of the statistics: definition, unit, range, source."""
    parts = [
        "# Statistics",
        "What `analysis.degeneracy.measure` returns, and every table of this project has for "
        "columns. N is the number of queries, M of keys. Ranges are those of "
        "`DegeneracyReport.bounds`; a number that has no meaning for a block is NaN.",
    ]
    report = example_report()
    for name, known in STATISTICS.items():
        low, high = report.bounds(name)
        parts += [
            f"## {known.label}",
            f"`{name}`",
            known.definition,
            f"Unit\n: {known.unit or 'none'}",
            f"Range\n: {low:g} to {RANGE_TOPS.get(name, f'{high:g}')}",
            f"In the papers\n: {IN_THE_PAPER.get(name, STANDARD)}",
        ]
    others = [field.name for field in fields(DegeneracyReport) if field.name not in STATISTICS]
    parts += [
        "## Beside them",
        "A report also holds " + _listed(others) + "; see {doc}`reference-analysis`.",
    ]
    return _page(parts)


RANGE_TOPS = {
    "query_information_bits": "log2 min(N, M)",
    "entropy_bits": "log2 M",
    "perplexity": "M",
    "jsd_nats": "ln 2",
    "effective_rank": "the smaller of M and the rows it is of",
    "attention_distance": "the greatest distance of a query from a key",
}
"""Upper ends that depend on the grid, in words."""


def example_report() -> DegeneracyReport:
    """Return a report for the ends of ranges that no grid changes."""
    grid = Grid.tiling((2, 2), 1, 2)
    vectors = torch.eye(2)
    record = AttentionRecord(
        "block", "embedded_gaussian", "coupled", 1.0, vectors, vectors, None, grid, grid
    )
    return degeneracy.measure(record)


def networks_page() -> str:
    """Return every network that can be loaded by name: those bundled, each with its card."""
    parts = [
        "# Networks",
        "`load_network(NAME)` loads them; `python -m app models` lists them on the command line.",
        "## Bundled",
    ]
    for name in list_networks():
        spec = NETWORKS[name]
        card = json.loads((WEIGHTS / f"{name}.json").read_text(encoding="utf-8"))
        title = getattr(spec, "title", name)
        summary = getattr(spec, "summary", "")
        parts += [f"### {name}", f"{title}: {summary}.", card_table(card)]
    parts += [
        "## Published by others",
        "Downloaded when first loaded, and checked where the file's name carries its hash.",
        "| name | network | data | as published | download | license |\n|---|---|---|---|---|---|\n"
        + "\n".join(
            f"| `{name}` | {spec.title} | {spec.dataset} | {spec.metric} {spec.score:.3f} "
            f"| {spec.size} | {spec.license} |"
            for name, spec in PUBLISHED.items()
        ),
    ]
    return _page(parts)


def card_table(card: Mapping[str, object]) -> str:
    """Return a card as a table, whatever it holds."""
    rows = [
        f"| {name.replace('_', ' ')} | {f'`{value}`' if name in ('sha256', 'recipe') else value} |"
        for name, value in card.items()
        if name != "title" and not isinstance(value, dict | list)
    ]
    return "| | |\n|---|---|\n" + "\n".join(rows)


def notebooks_page() -> str:
    """Return the list of notebooks."""
    names = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    tree = "```{toctree}\n:maxdepth: 1\n\n" + "\n".join(names) + "\n```"
    return _page(
        [
            "# Notebooks",
            "In the folder `notebooks`; `make docs` runs them, and so do the tests.",
            tree,
        ]
    )


def reference_page(room: str) -> str:
    """Return the reference of a room: the docstrings of its modules."""
    parts = [f"# Reference: {room}"]
    for module in ROOMS[room]:
        name = f"{room}.{module}"
        parts += [f"## {name}", f"```{{eval-rst}}\n.. automodule:: {name}\n```"]
    return _page(parts)


def _page(parts: list[str]) -> str:
    return "\n\n".join(parts) + "\n"


def _listed(names: list[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return ", ".join(quoted[:-1]) + f" and {quoted[-1]}"
