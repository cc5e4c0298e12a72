"""Figures of many queries, against the plain way: `python -m benchmarks.export`.

The same figures of one photograph, one per query, as PNG files with equal pixels:

- plain: for every query a forward pass, a fresh matplotlib figure and `savefig`, as one would write
  it in a notebook.
- export: the export command's own code: one forward pass, a figure whose pictures are exchanged,
  and `--jobs` processes where there are several photographs.

Then how long a figure of 3 networks x 4 queries x 4 terms takes at 300 dpi once the networks have
run, and how much memory an export keeps per 100 inputs.
"""

import time
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from nonlocal_lens.analysis import capture
from nonlocal_lens.analysis.figures import Look, Scale, attention_figure, figure_bytes
from nonlocal_lens.analysis.figures.queries import regular_points
from nonlocal_lens.app.batch.networks import load
from nonlocal_lens.app.export.options import Options
from nonlocal_lens.app.export.run import export
from nonlocal_lens.app.pictures import sample_picture
from nonlocal_lens.app.threads import one_thread
from nonlocal_lens.models import list_networks
from tests.peak_memory import peak_megabytes

SCALE = "fixed:0,2"  # known beforehand, so that the plain way needs no look at other queries
SAMPLE = "motorcycle"


def main(
    network: Annotated[str, typer.Option(help="A name or a weight file.")] = list_networks(
        "segmentation"
    )[0],
    queries: Annotated[int, typer.Option(help="Figures of one photograph.")] = 20,
    inputs: Annotated[int, typer.Option(help="Photographs for the memory; 0 leaves it out.")] = 0,
) -> None:
    """Print seconds per figure of both ways, their ratio, and the two other numbers."""
    load(network)
    with TemporaryDirectory() as folder:
        compare(network, queries, Path(folder))
    large_figure(network)
    if inputs:
        with TemporaryDirectory() as folder:
            memory(network, inputs, Path(folder))


def compare(network: str, queries: int, folder: Path) -> None:
    """Draw the same figures both ways, and check that they are the same."""
    image = sample_picture(SAMPLE).image
    title, module, _ = load(network)
    (record, *_) = capture(module, image)
    points = regular_points(record.query_grid, 1, queries)
    look = Look(scale=Scale.parse(SCALE))

    start = time.perf_counter()
    with one_thread():
        for number, point in enumerate(points):
            (record, *_) = capture(module, image)
            figure = attention_figure({title: record}, [point], image=image, look=look)
            figure.savefig(folder / f"plain{number}.png")
    plain = (time.perf_counter() - start) / queries

    options = Options.build(
        {
            "inputs": [f"samples:{SAMPLE}"],
            "networks": [network],
            "queries": [f"grid:1x{queries}"],
            "layout": "queries",
            "scale": SCALE,
        }
    )
    start = time.perf_counter()
    export(options, folder / "export")
    ours = (time.perf_counter() - start) / queries
    for number in range(queries):
        one = np.asarray(Image.open(folder / f"plain{number}.png").convert("RGB"))
        other = np.asarray(Image.open(folder / "export" / f"{SAMPLE}.q{number + 1:02d}.png"))
        assert np.array_equal(one, other), f"query {number} differs"
    print(f"{'seconds per figure, plain':<40}{plain:>8.3f}")
    print(f"{'seconds per figure, export':<40}{ours:>8.3f}")
    print(f"{'ratio':<40}{plain / ours:>8.1f}")


def large_figure(network: str) -> None:
    """Time a figure of 3 networks x 4 queries x 4 terms."""
    image = sample_picture(SAMPLE).image
    (record, *_) = capture(load(network).module, image)
    records = dict.fromkeys(("one", "two", "three"), record)
    points = regular_points(record.query_grid, 2, 2)
    start = time.perf_counter()
    figure = attention_figure(
        records, points, image=image, shown=("input", "whole", "pairwise", "unary", "difference")
    )
    figure_bytes(figure, "png", note={})
    print(f"{'seconds for 3 networks x 4 x 4 maps':<40}{time.perf_counter() - start:>8.2f}")


def memory(network: str, inputs: int, folder: Path) -> None:
    """Export many inputs in this process and print what it keeps of each hundred."""
    draws = np.random.default_rng(0)
    pictures = folder / "pictures"
    pictures.mkdir()
    for number, side in zip(range(inputs), islice(cycle((256, 264)), inputs), strict=True):
        noise = draws.integers(0, 256, (192, side, 3), dtype=np.uint8)
        Image.fromarray(noise).save(pictures / f"{number}.png")
    options = Options.build(
        {
            "inputs": [str(pictures)],
            "networks": [network],
            "queries": ["grid:1x1"],
            "dpi": 60,
        }
    )
    kept: list[int] = []

    def progress(done: int, _: int) -> None:
        if done in (inputs // 2, inputs):
            kept.append(resident_kilobytes())

    export(options, folder / "out", progress=progress)
    growth = (kept[1] - kept[0]) / 1024 / (inputs - inputs // 2) * 100
    print(f"{'megabytes kept per 100 inputs':<40}{growth:>8.2f}")
    print(f"{'megabytes at most':<40}{peak_megabytes():>8.0f}")


def resident_kilobytes() -> int:
    """Return how much memory this process has now."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0])


if __name__ == "__main__":
    typer.run(main)
