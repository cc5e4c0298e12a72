"""The papers' tables for the bundled networks.

`python -m nonlocal_lens.analysis.paper_tables --root ROOT` makes them.

Numbers are written into a page of the docs, between the marks of each table, so that the words
around them stay as they are.
"""

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from nonlocal_lens.analysis.dataset_options import Data, Every, Root, Split
from nonlocal_lens.analysis.datasets import Source, read_labeled
from nonlocal_lens.analysis.evaluate import evaluate, null_for_nan
from nonlocal_lens.analysis.interventions import CONTROLS, INTERVENTIONS
from nonlocal_lens.models import list_networks
from nonlocal_lens.models.atomic_write import atomic_write
from nonlocal_lens.models.checkpoint import load_segmentation
from nonlocal_lens.models.networks.description import Architecture
from nonlocal_lens.models.zoo import NETWORKS

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Found = dict[str, dict[str, Any]]  # network name -> what `analysis.evaluate` found

PAGE = Path(__file__).parents[1] / "docs" / "attention.md"

FOUR_FORMS = ("gaussian", "non_local", "dot_product", "concatenation")
"""Blocks of GCNet's Table 1, in its order."""

ABLATION = ("non_local", "pairwise", "unary", "product", "sum", "disentangled")
"""Blocks of the consistency table of Yin et al. 2020."""


@cli.command()
def main(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Networks; all bundled ones of one block, or none, if not given."),
    ] = None,
    data: Data = Source.camvid,
    root: Root = None,
    split: Split = "val",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Stop after this many images; all if not given.")
    ] = None,
    every: Every = 1,
    table: Annotated[
        list[str] | None, typer.Option(help="Which tables are written; all if not given.")
    ] = None,
    page: Annotated[Path, typer.Option(help="Markdown page with the marks.")] = PAGE,
    numbers: Annotated[
        Path | None, typer.Option(help="JSON file that takes every number, too.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Networks measured at once.")] = 1,
) -> None:
    """Measure what attention is worth to every network, and write the tables into PAGE."""
    try:
        tables = table or [*TABLES]
        for title in tables:
            if title not in TABLES:
                raise ValueError(f"unknown table {title!r}; available: {', '.join(TABLES)}")
        chosen = names or residual_networks()
        for name in chosen:
            load_segmentation(name)  # a wrong name ends here, not after minutes
        text = page.read_text(encoding="utf-8")
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
            of = (data, root, split, limit, every, jobs)
            tasks = [pool.submit(measure, name, *of) for name in chosen]
            found = {name: task.result() for name, task in zip(chosen, tasks, strict=True)}
        for title in tables:
            text = fill(text, title, TABLES[title](found))
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    if numbers is not None:
        write(numbers, json.dumps(null_for_nan(found), indent=1, allow_nan=False) + "\n")
    write(page, text)
    typer.echo(f"{page}: {len(tables)} tables of {len(found)} networks")


def residual_networks() -> tuple[str, ...]:
    """Return the bundled networks that segment with at most one block; the tables are of these."""
    return tuple(
        name
        for name in list_networks("segmentation")
        if isinstance(NETWORKS[name].architecture, Architecture)
    )


def measure(
    name: str,
    data: Source,
    root: Path | None,
    split: str,
    limit: int | None,
    every: int,
    jobs: int,
) -> dict[str, Any]:
    """Return what `analysis.evaluate` finds out about one network."""
    if jobs > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // jobs))
    network = load_segmentation(name)
    samples = read_labeled(data, root, split, network.classes)
    return evaluate(network, islice(samples, 0, limit, every))


def interventions_table(found: Found) -> str:
    """Return mIoU with attention on, and the change in points under every intervention."""
    others = [how for how in INTERVENTIONS if how != "on"]
    rows = [["network", "on", *(how.replace("_", " ") for how in others)]]
    for name, figures in found.items():
        changes = figures["miou_change"]
        cells = [signed(changes[how]["mean"]) if figures["blocks"] else "-" for how in others]
        rows.append([name, f"{100 * figures['miou']['on']:.1f}", *cells])
    return markdown(rows)


def controls_table(found: Found) -> str:
    """Return the change in mIoU when blocks are left out, beside its controls, with intervals."""
    shown = ("off", *CONTROLS)
    rows = [["network", "on", *(how.replace("_", " ") for how in shown)]]
    for name, figures in with_blocks(found):
        cells = [signed_interval(figures["miou_change"][how]) for how in shown]
        rows.append([name, f"{100 * figures['miou']['on']:.1f}", *cells])
    return markdown(rows)


def bits_table(found: Found) -> str:
    """Return the split of attention in bits, and the share of the logits that is unary."""
    columns = ("selectivity_bits", "unary_bits", "query_information_bits")
    others = ("unary_information_share", "unary_share", "normalized_mutual_information")
    head = ["selectivity", "= unary", "+ query information", "unary information share"]
    rows = [["network", *head, "unary share of the logits", "NMI"]]
    for name, figures in with_blocks(found):
        block = first_block(figures)
        cells = [with_interval(block, column) for column in columns]
        rows.append([name, *cells, *(decimals(block["degeneracy"][other]) for other in others)])
    return markdown(rows)


def sinks_table(found: Found) -> str:
    """Return the largest share of the mean row, of the whole attention and of each term."""
    head = ["sink share", "pairwise alone", "unary alone", "max / median", "images with a sink"]
    rows = [["network", *head, "routed to it"]]
    for name, figures in with_blocks(found):
        block = first_block(figures)
        statistics, whole = block["degeneracy"], block["sinks"]["whole"]
        shares = [
            with_interval(block, f"{term}_sink_share", block["sinks"][term]["share"])
            for term in ("whole", "pairwise", "unary")
        ]
        concentration, rate = whole["concentration"], whole["rate"]
        rows.append(
            [
                name,
                *shares,
                "-" if concentration != concentration else f"{concentration:.1f}",
                "-" if rate != rate else f"{100 * rate:.0f} %",
                decimals(statistics["sink_routed"]),
            ]
        )
    return markdown(rows)


def distances_table(found: Found) -> str:
    """Return GCNet's Table 1: cosine distances of input, output, attention, and the divergence."""
    columns = ("input_cosine_distance", "output_cosine_distance", "cosine_distance", "jsd_nats")
    rows = [["form", "network", "mIoU", "input", "output", "att", "JSD-att"]]
    for block, name, figures in of_blocks(FOUR_FORMS, found):
        statistics = first_block(figures)["degeneracy"]
        numbers = [decimals(statistics[column]) for column in columns]
        rows.append([block.replace("_", "-"), name, f"{100 * figures['miou']['on']:.1f}", *numbers])
    return markdown(rows)


def consistency_table(found: Found) -> str:
    """Return the masses of attention on the query's own category and on category boundaries."""
    rows = [
        [
            "block",
            "network",
            "whole in own category",
            "pairwise in own category",
            "pairwise on boundaries",
            "unary on boundaries",
        ]
    ]
    measured = (
        ("own_category", "whole"),
        ("own_category", "pairwise"),
        ("boundary", "pairwise"),
        ("boundary", "unary"),
    )
    chances: list[str] = []
    for block, name, figures in of_blocks(ABLATION, found):
        agreements = [first_block(figures)[region][term] for region, term in measured]
        cells = [f"{decimals(on['mass'])} ({on['lift']:.2f} ×)" for on in agreements]
        rows.append([block.replace("_", "-"), name, *cells])
        chances = [decimals(on["chance"]) for on in agreements]
    return markdown([*rows, ["chance", "", *chances]] if chances else rows)


TABLES = {
    "interventions": interventions_table,
    "controls": controls_table,
    "bits": bits_table,
    "sinks": sinks_table,
    "distances": distances_table,
    "consistency": consistency_table,
}
"""What stands between the marks `<!-- NAME -->` and `<!-- end of NAME -->` of the page."""


def of_blocks(blocks: tuple[str, ...], found: Found) -> list[tuple[str, str, dict[str, Any]]]:
    """Return (block, network, figures) of the networks with these blocks, in their order."""
    of_network = {
        name: spec.architecture.block
        for name, spec in NETWORKS.items()
        if isinstance(spec.architecture, Architecture)
    }
    return [
        (block, name, figures)
        for block in blocks
        for name, figures in found.items()
        if of_network.get(name) == block
    ]


def with_blocks(found: Found) -> list[tuple[str, dict[str, Any]]]:
    """Return the networks that have attention, with their figures."""
    return [(name, figures) for name, figures in found.items() if figures["blocks"]]


def first_block(figures: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of the one block that a bundled network has."""
    return next(iter(figures["blocks"].values()))


def markdown(rows: list[list[str]]) -> str:
    """Return rows, the first of them the head, as a table; numbers stand to the right."""
    head, *body = rows
    line = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, line, *body])


def signed(share: float) -> str:
    """Return a change of a share in points, with its sign and one decimal; a dash for NaN."""
    return "-" if share != share else f"{100 * share:+.1f}"


def signed_interval(change: dict[str, float]) -> str:
    """Return a change of a share in points, with its sign, one decimal and its interval."""
    mean, low, high = (100 * change[key] for key in ("mean", "low", "high"))
    if mean != mean:
        return "-"
    return f"{mean:+.1f}" + ("" if low != low else f" [{low:+.1f}, {high:+.1f}]")


def with_interval(block: dict[str, Any], name: str, mean: float | None = None) -> str:
    """Return a mean over images with its interval, a dash for NaN."""
    mean = block["degeneracy"][name] if mean is None else mean
    low, high = block["low"][name], block["high"][name]
    if mean != mean:
        return "-"
    return f"{mean:.3f}" + ("" if low != low else f" [{low:.3f}, {high:.3f}]")


def decimals(value: float) -> str:
    """Return three decimals, a dash for NaN."""
    return "-" if value != value else f"{value:.3f}"


def fill(page: str, name: str, table: str) -> str:
    """Return a page with the table between its marks replaced; ValueError if it has no marks."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"the page must have the marks {begin} and {end}, one after the other")
    return f"{before}{begin}\n{table}\n{end}{after}"


def write(path: Path, text: str) -> None:
    """Write a text file; nothing half-written is left behind."""
    atomic_write(path, text.encode())


if __name__ == "__main__":
    cli()
