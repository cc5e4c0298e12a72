"""Whether the unary branch of a disentangled block takes a sink off its pairwise branch.

`python -m nonlocal_lens.analysis.unary_branch --root ROOT --branch A --without B` counts sinks in
the pairwise softmax of networks that were trained with the branch and without, in a table.

The networks come from `python -m nonlocal_lens.models.train streets-dnl --seed SEED`, and the same
with `--block pairwise`: one recipe, one seed, one trunk, with the branch or without.
"""

from collections.abc import Sequence
from itertools import islice
from math import log, log2
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from tqdm import tqdm

from nonlocal_lens.analysis.capture import capture
from nonlocal_lens.analysis.dataset_options import Data, Every, Root, Split
from nonlocal_lens.analysis.datasets import Source, read_labeled
from nonlocal_lens.analysis.intervals import CONFIDENCE, Interval, mean_interval
from nonlocal_lens.analysis.paper_tables import PAGE, fill, markdown, write
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.streaming import entropy_nats
from nonlocal_lens.analysis.term_sinks import mean_row, sink_of
from nonlocal_lens.models.checkpoint import load_segmentation
from nonlocal_lens.models.networks.segmentation import SegmentationNetwork
from nonlocal_lens.models.training.data import Sample
from nonlocal_lens.models.training.evaluation import confusion_matrix, mean_iou

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

RESAMPLES = 4000
"""Of images and pairs, for an interval."""

MARK = "unary branch"
"""What the marks around the table are called."""


class OfImage(NamedTuple):
    """The pairwise softmax of one block on one image, by itself."""

    share: float  # largest share of its mean row, 1 / keys to 1
    concentration: float  # that over the median
    rate: float  # 1 where there is a sink
    routed: float  # share of queries that give that key half of their attention or more
    alike_bits: float  # what is the same for every query: KL(mean row || uniform)


COLUMNS = ("sink share", "max / median", "images with a sink", "routed to it", "alike, bits")
"""What the fields of `OfImage` are called in the table."""


class Measured(NamedTuple):
    """A network, and what was found on every image, in their order."""

    title: str
    miou: float  # on these images, 0 to 1
    images: list[OfImage]


def of_record(record: AttentionRecord) -> OfImage:
    """Return the sink of a record's pairwise term, and how far it is the same for every query.

    Raises:
        ValueError: The block has no pairwise softmax of its own.
    """
    if record.coupling not in ("disentangled", "pairwise"):
        raise ValueError(
            f"block {record.block!r} has no pairwise softmax of its own: its coupling must be "
            f"disentangled or pairwise, got {record.coupling}"
        )
    entropy = entropy_nats(mean_row(record, "pairwise")).item() / log(2)
    return OfImage(*sink_of(record, "pairwise"), log2(len(record.key)) - entropy)


def measure(title: str, network: SegmentationNetwork, samples: Sequence[Sample]) -> Measured:
    """Return what is found of a network's one attention block on labeled images."""
    found = []
    for image, _ in tqdm(samples, desc=title, unit="image", leave=False):
        (record,) = capture(network, image)
        found.append(of_record(record))
    return Measured(title, mean_iou(confusion_matrix(network, samples)), found)


def table(branch: Sequence[Measured], without: Sequence[Measured]) -> str:
    """Return a row for every network, and for what changes without the branch.

    Differences are between the two networks of a pair on the same image. Intervals are of 95 % and
    over images; that of the last row is over images and pairs, both drawn anew: of two pairs it
    says no more than how far these differ.
    """
    rows = [["pairwise branch", "mIoU", *COLUMNS]]
    for title, networks in (("with", branch), ("without", without)):
        for number, one in enumerate(networks, start=1):
            name = f"{title} the unary one, pair {number}"
            rows.append([name, f"{100 * one.miou:.1f}", *_cells(_intervals(one.images))])
    seeds = zip(branch, without, strict=True)
    pairs = [_less(after.images, before.images) for before, after in seeds]
    for number, changes in enumerate(pairs, start=1):
        title = f"without less with, pair {number}"
        rows.append([title, "", *_cells(_intervals(changes), signed=True)])
    title = "without less with, all pairs"
    rows.append([title, "", *_cells(over_images_and_pairs(pairs), signed=True)])
    return markdown(rows)


def over_images_and_pairs(pairs: Sequence[Sequence[OfImage]], *, seed: int = 0) -> list[Interval]:
    """Return for every field the mean over pairs and images, with a bootstrap interval over both.

    Args:
        pairs: Of every pair the values of all images, in one order.
        seed: Of the resamples.
    """
    values = np.array(pairs)  # pair x image x field
    count, images, _ = values.shape
    draws = np.random.default_rng(seed)
    means = [
        values[draws.integers(0, count, count)][:, draws.integers(0, images, images)].mean((0, 1))
        for _ in range(RESAMPLES)
    ]
    ends = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    of_fields = zip(values.mean((0, 1)), *ends, strict=True)
    return [
        Interval(float(mean), float(low), float(high), count * images)
        for mean, low, high in of_fields
    ]


def _intervals(images: Sequence[OfImage]) -> list[Interval]:
    return [mean_interval(values) for values in zip(*images, strict=True)]


def _less(after: Sequence[OfImage], before: Sequence[OfImage]) -> list[OfImage]:
    return [
        OfImage(*(a - b for a, b in zip(one, other, strict=True)))
        for one, other in zip(after, before, strict=True)
    ]


def _cells(intervals: Sequence[Interval], *, signed: bool = False) -> list[str]:
    cells = []
    for name, interval in zip(OfImage._fields, intervals, strict=True):
        digits = "+" * signed + (".1f" if name == "concentration" else ".4f")
        mean, low, high = (format(end, digits) for end in interval[:3])
        ends = "" if interval.low != interval.low else f" [{low}, {high}]"
        cells.append(mean + ends)
    return cells


@cli.command()
def main(
    branch: Annotated[
        list[str], typer.Option(help="Weights of a network with the branch; several, by seed.")
    ],
    without: Annotated[
        list[str], typer.Option(help="Weights of one without it: of the same seed, in their order.")
    ],
    data: Data = Source.camvid,
    root: Root = None,
    split: Split = "val",
    every: Every = 1,
    page: Annotated[Path, typer.Option(help="Markdown page with the marks.")] = PAGE,
) -> None:
    """Count sinks of the pairwise branch with and without a unary one; write a table into PAGE."""
    try:
        if len(branch) != len(without):
            raise ValueError(
                "there must be as many networks with the branch as without, "
                f"got {len(branch)} and {len(without)}"
            )
        text = page.read_text(encoding="utf-8")
        networks = {source: load_segmentation(source) for source in (*branch, *without)}
        labeled = read_labeled(data, root, split, next(iter(networks.values())).classes)
        samples = list(islice(labeled, 0, None, every))
        found = [
            measure(Path(source).stem, networks[source], samples) for source in (*branch, *without)
        ]
        write(page, fill(text, MARK, table(found[: len(branch)], found[len(branch) :])))
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(f"{page}: {len(found)} networks on {len(found[0].images)} images of {split}")


if __name__ == "__main__":
    cli()
