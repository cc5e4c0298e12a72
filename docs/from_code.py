"""Pages of the site that are made from the code: statistics, networks, notebooks, modules."""

import ast
import json
import shutil
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import torch

from docs.verified import verified_page
from nonlocal_lens.analysis import AttentionRecord, degeneracy
from nonlocal_lens.analysis.catalog import STATISTICS
from nonlocal_lens.analysis.degeneracy import DegeneracyReport
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.tracing.label_rules import RULES
from nonlocal_lens.app.guide import SIGHTS
from nonlocal_lens.models import list_networks
from nonlocal_lens.models.bundled import WEIGHTS
from nonlocal_lens.models.networks.architecture import BLOCKS
from nonlocal_lens.models.published import PUBLISHED
from nonlocal_lens.models.zoo import NETWORKS

ROOT = Path(__file__).parents[1]

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
        "adapters",
        "figures.paper",
        "figures.look",
    ),
    "models": ("checkpoint", "preprocess", "blocks.attention_block", "networks.insert"),
    "app": ("notebook.exploration",),
}
"""Modules whose docstrings are the reference."""


def write(folder: Path) -> None:
    """Write all generated pages, anew; what did not change keeps its time, so builds stay quick."""
    pages = {
        "statistics.md": statistics_page(),
        "what-to-look-for.md": sights_page(),
        "networks.md": networks_page(),
        "reading.md": reading_page(),
        "verified.md": verified_page(),
        "notebooks.md": notebooks_page(),
        **{f"reference-{room}.md": reference_page(room) for room in ROOMS},
    }
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        pages[path.name] = path.read_text(encoding="utf-8")
    (folder / "sights").mkdir(parents=True, exist_ok=True)
    for sight in SIGHTS:
        shutil.copyfile(sight.picture, folder / "sights" / sight.picture.name)
    for path in folder.iterdir():
        if path.name not in pages and path.is_file():
            path.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def sights_page() -> str:
    """Return what to look for in ten pictures, as the app's guide has it."""
    parts = [
        "# What to look for",
        "Ten pictures of the running app, drawn by `python -m docs.sights`; the app has them as "
        "its guide, where each opens live. Addresses are those of `nonlocal-lens` on this machine.",
    ]
    for number, sight in enumerate(SIGHTS, 1):
        address = f"http://127.0.0.1:8501/{sight.page}?{sight.address}"
        parts += [
            f"## {number}. {sight.title}",
            f"![{sight.title}](sights/{sight.picture.name})",
            sight.words,
            f"```text\n{address}\n```",
        ]
    return _page(parts)


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
            *([known.plain] if known.plain else []),
            known.definition,
            f"Unit\n: {known.unit or 'none'}",
            f"Range\n: {known.bottom or f'{low:g}'} to {known.top or f'{high:g}'}",
            f"Degenerate\n: {DIRECTIONS[known.degenerate]}",
            f"In the papers\n: {known.source}",
        ]
    others = [field.name for field in fields(DegeneracyReport) if field.name not in STATISTICS]
    parts += [
        "## Beside them",
        "A report also holds " + _listed(others) + "; see {doc}`reference-analysis`.",
    ]
    return _page(parts)


DIRECTIONS = {
    "low": "the lower, the more degenerate",
    "high": "the higher, the more degenerate",
    "either": "says nothing of it by itself",
}


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
        "`load_network(NAME)` loads them; `nonlocal-lens models` lists them on the command line.",
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


def reading_page() -> str:
    """Return what is read of networks, what is refused, and why: sentences of the code itself."""
    own = [(kind.form, kind.coupling, name) for name, kind in BLOCKS.items()]
    parts = [
        "# What is read, what is refused, and why",
        "A record is what a network computed, or there is none: {doc}`../how-attention-is-read` "
        "says how it is read and why it is right. What is refused is said in one warning that "
        "names block and reason; the network itself runs to its end as ever.",
        "## Read",
        "Blocks of this package: "
        + ", ".join(f"`{name}` ({form}, {coupling})" for form, coupling, name in own)
        + ".",
        "All other attention is read from what is computed.",
        f"Operations that places are followed through beside views and those that work on single "
        f"elements: {_listed(sorted(RULES))}.",
        "## Refused",
        "The sentences with which a block is left out; `...` stands for names and numbers.",
        *(
            f"From `{path.relative_to(ROOT).as_posix()}`:\n\n"
            + "\n".join(f"- {sentence}" for sentence in sentences)
            for path in sorted((ROOT / "analysis").rglob("*.py"))
            if (sentences := refusals(path.read_text(encoding="utf-8")))
        ),
        "## What takes more than a picture",
        "`capture` gives a network one picture or one clip. CLIP takes text, too, and segmenters "
        "take prompts: give the part that looks at the picture, such as `network.vision_model`, or "
        "run the network on its own input:",
        "```python\nfrom nonlocal_lens.analysis.capture import recording\n\n"
        "with recording(network, (height, width)) as records:\n    network(pixels, words)\n```",
    ]
    return _page(parts)


REFUSALS = (
    "UnplacedError",
    "UnfollowedError",
    "UnprovedError",
    "UnreadableError",
    "FullRankError",
)
"""Errors that refuse attention, each with a sentence."""


def refusals(source: str) -> list[str]:
    """Return the sentences with which a file refuses blocks, `...` for what is filled in."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
            continue
        if node.func.id not in REFUSALS:
            continue
        sentence = _sentence_of(node.args[0])
        if sentence.strip(". "):
            found.append(sentence)
    return list(dict.fromkeys(found))


def _sentence_of(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_sentence_of(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return _sentence_of(node.left) + _sentence_of(node.right)
    return "..."


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
        name = f"nonlocal_lens.{room}.{module}"
        parts += [f"## {name}", f"```{{eval-rst}}\n.. automodule:: {name}\n```"]
    return _page(parts)


def _page(parts: list[str]) -> str:
    return "\n\n".join(parts) + "\n"


def _listed(names: list[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return ", ".join(quoted[:-1]) + f" and {quoted[-1]}"
