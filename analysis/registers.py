"""What registers change in a transformer: sinks, long tokens, categories, what attention is worth.

`python -m nonlocal_lens.analysis.registers --root ROOT` compares the bundled transformers, layer by
layer, and writes the tables of a page of the docs. Registers are tokens that stand for nothing in
the image (Darcet et al., "Vision Transformers Need Registers", ICLR 2024, arXiv 2309.16588).
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from math import nan
from pathlib import Path
from statistics import fmean
from typing import Annotated, NamedTuple

import torch
import typer
from torch import Tensor
from tqdm import tqdm

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.another_image import prepared_another
from nonlocal_lens.analysis.causes import with_another
from nonlocal_lens.analysis.changing import Changing
from nonlocal_lens.analysis.consistency import cell_class, class_share
from nonlocal_lens.analysis.dataset_options import Data, Every, Root, Split
from nonlocal_lens.analysis.datasets import Source, read_labeled
from nonlocal_lens.analysis.effects import scores_under
from nonlocal_lens.analysis.evaluate import miou_change
from nonlocal_lens.analysis.intervals import mean_interval
from nonlocal_lens.analysis.labels import NO_CLASS
from nonlocal_lens.analysis.paper_tables import fill, markdown, signed_interval, write
from nonlocal_lens.analysis.statistics.sinks import SINK
from nonlocal_lens.analysis.streaming import query_chunks
from nonlocal_lens.analysis.token_norms import TokenNorms, token_norms
from nonlocal_lens.models.checkpoint import load_segmentation
from nonlocal_lens.models.networks.segmentation import SegmentationNetwork
from nonlocal_lens.models.training.data import Labels, Sample
from nonlocal_lens.models.training.evaluation import count_pixels, mean_iou

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

PAGE = Path(__file__).parents[1] / "docs" / "registers.md"

PAIR = ("streets-vit", "streets-vit-reg")
"""Without registers, and with them."""


class OfLayer(NamedTuple):
    """One layer on one image: means over its heads, but for the length of tokens."""

    sink_share: float  # largest share of the mean row, 1 / keys to 1
    sink_rate: float  # share of heads that have a sink
    token_share: float  # of the attention of patches, what falls on class token and registers
    longest: float  # the longest patch before the layer, over the median patch
    own_category: float  # mass on the query's own class over chance: 1 is to ignore it


TITLES = {
    "sink_share": "largest share of a key",
    "sink_rate": "heads with a sink",
    "token_share": "attention on tokens without a place",
    "longest": "longest patch over the median one",
    "own_category": "attention in the own category over chance",
}
"""What the fields of `OfLayer` are called; each has a table of that name."""


class Measured(NamedTuple):
    """A network on labeled images."""

    name: str
    layers: list[list[OfLayer]]  # of every image, in their order
    counts: Mapping[str, Tensor]  # intervention -> images x classes x classes, pixels


def of_layer(heads: Sequence[TokenNorms], labels: Labels, classes: int) -> OfLayer:
    """Return what is found of one layer's heads on an image with labels, in one pass over rows.

    Args:
        heads: Of one layer on one image.
        labels: Of every pixel; values from `classes` on are void.
        classes: How many there are.
    """
    axis = heads[0].record.key_axis
    share = class_share(labels, classes, axis)
    own_class = cell_class(share)
    labeled = own_class != NO_CLASS
    chance = share.mean(dim=0)[own_class[labeled]].mean()
    means, lifts = [], []
    for head in heads:
        total = torch.zeros(len(axis), dtype=torch.float64)
        own = torch.full((axis.placed,), nan, dtype=torch.float64)
        for chunk in query_chunks(head.record):
            rows = terms.attention(head.record, chunk).double()
            total += rows.sum(dim=0)
            among = rows[:, : axis.placed]
            mass = among @ share / among.sum(dim=1, keepdim=True)
            own[chunk] = mass.gather(1, own_class[chunk, None].clamp(min=0))[:, 0]
        means.append(total / axis.placed)
        lifts.append((own[labeled].mean() / chance).item())
    tops = [mean.max().item() for mean in means]
    lengths = heads[0].lengths[: axis.placed]
    return OfLayer(
        fmean(tops),
        fmean(top >= SINK for top in tops),
        fmean(mean[axis.placed :].sum().item() for mean in means),
        (lengths.max() / lengths.quantile(0.5)).item(),
        fmean(lifts),
    )


def measure(name: str, network: SegmentationNetwork, samples: Sequence[Sample]) -> Measured:
    """Return what is found of every layer, and what it predicts under every intervention."""
    layers = []
    counts: dict[str, list[Tensor]] = {}
    others = with_another([image for image, _ in samples])
    bar = tqdm(zip(samples, others, strict=True), name, len(samples), leave=False, unit="image")
    for (image, labels), (_, another) in bar:
        by_layer: dict[str, list[TokenNorms]] = {}
        for one in token_norms(network, image):
            by_layer.setdefault(one.record.block, []).append(one)
        classes = len(network.classes)
        layers.append([of_layer(heads, labels, classes) for heads in by_layer.values()])
        x = network.preprocess(image)
        changing = Changing(network, x, prepared_another(network, image, another))
        with torch.inference_mode():
            for how, scores in scores_under(changing).items():
                counts.setdefault(how, []).append(count_pixels(scores, labels))
    return Measured(name, layers, {how: torch.stack(found) for how, found in counts.items()})


def layer_table(field: str, without: Measured, with_registers: Measured) -> str:
    """Return a row for every layer: both networks, and the difference on the same image.

    Intervals are of 95 % and over images.
    """
    rows = [["layer", without.name, with_registers.name, "difference"]]
    for number in range(len(without.layers[0])):
        before, after = (
            [getattr(layers[number], field) for layers in one.layers]
            for one in (without, with_registers)
        )
        change = [b - a for a, b in zip(before, after, strict=True)]
        rows.append(
            [str(number + 1), _interval(before), _interval(after), _interval(change, signed=True)]
        )
    return markdown(rows)


def worth_table(networks: Sequence[Measured]) -> str:
    """Return a row for every network: its mIoU, and the change in points when all attention is."""
    others = [how for how in networks[0].counts if how != "on"]
    rows = [["network", "on", *(how.replace("_", " ") for how in others)]]
    for one in networks:
        on = one.counts["on"]
        changes = [signed_interval(miou_change(on, one.counts[how])) for how in others]
        rows.append([one.name, f"{100 * mean_iou(on.sum(dim=0)):.1f}", *changes])
    return markdown(rows)


def _interval(values: Sequence[float], *, signed: bool = False) -> str:
    mean, low, high, _ = mean_interval(values)
    digits = "+.3f" if signed else ".3f"
    return format(mean, digits) + ("" if low != low else f" [{low:{digits}}, {high:{digits}}]")


@cli.command()
def main(
    names: Annotated[
        tuple[str, str], typer.Option("--networks", help="Without registers, and with them.")
    ] = PAIR,
    data: Data = Source.camvid,
    root: Root = None,
    split: Split = "val",
    every: Every = 1,
    page: Annotated[Path, typer.Option(help="Markdown page with the marks.")] = PAGE,
) -> None:
    """Compare two transformers layer by layer, and write the tables into PAGE."""
    try:
        text = page.read_text(encoding="utf-8")
        networks = {name: load_segmentation(name) for name in names}
        labeled = read_labeled(data, root, split, networks[names[0]].classes)
        samples = list(islice(labeled, 0, None, every))
        found = [measure(name, network, samples) for name, network in networks.items()]
        for field, title in TITLES.items():
            text = fill(text, title, layer_table(field, *found))
        write(page, fill(text, "worth", worth_table(found)))
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(f"{page}: {len(found)} networks on {len(samples)} images of {split}")


if __name__ == "__main__":
    cli()
