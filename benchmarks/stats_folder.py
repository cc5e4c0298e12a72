"""Statistics of a folder, against its forward passes alone: `python -m benchmarks.stats_folder`.

Rendered streets are written into a folder as PNG files. Then, picture by picture in turn and in one
thread of one process:

- forward: the file is read and the network runs on it, as one would to predict.
- stats: what `nonlocal-lens stats` does with the file: read and hash it, run the network until its
  last attention block would attend, measure. Without and with `--baselines`.

Time is that of the processor, which other programs on the machine do not change much; what is told
is the median over pictures. Then what the parts of the statistics take, how many bytes a row has,
and what so many pictures cost: the arithmetic of docs/cost.md.
"""

import json
from dataclasses import asdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time
from typing import Annotated

import torch
import typer
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from nonlocal_lens.analysis import degeneracy
from nonlocal_lens.analysis.divergence import jensen_shannon_nats
from nonlocal_lens.analysis.early_exit import observe_blocks
from nonlocal_lens.analysis.spectrum import sampled_ranks
from nonlocal_lens.analysis.streaming import sum_rows
from nonlocal_lens.analysis.vectors import distances_of
from nonlocal_lens.app.batch.inputs import Source, find_sources, read_source
from nonlocal_lens.app.batch.networks import load
from nonlocal_lens.app.stats.columns import columns
from nonlocal_lens.app.stats.job import Done, measure_input
from nonlocal_lens.app.stats.options import Options
from nonlocal_lens.app.stats.result import FORMATS
from nonlocal_lens.app.threads import one_thread
from nonlocal_lens.models import list_networks
from nonlocal_lens.streets import render_scene

MILLION = 1_000_000


def main(
    network: Annotated[str, typer.Option(help="A name or a weight file.")] = list_networks(
        "segmentation"
    )[0],
    pictures: Annotated[int, typer.Option(min=1, help="How many.")] = 12,
    core_hour: Annotated[float, typer.Option(help="Price of a core for an hour.")] = 0.04,
    gpu_hour: Annotated[float, typer.Option(help="Price of a GPU for an hour.")] = 3.0,
    gpu_teraflops: Annotated[
        float, typer.Option(help="What a GPU really does of such work in a second.")
    ] = 10.0,
) -> None:
    """Print seconds per picture, their ratio, bytes per row, and the cost of a million pictures."""
    with TemporaryDirectory() as folder, one_thread():
        for seed in range(pictures):
            Image.fromarray(render_scene(seed).image).save(Path(folder) / f"{seed}.png")
        sources = find_sources([folder])
        forward, lean = compare(network, sources)
        operations = count_operations(network, sources[0])
        rows, sizes = bytes_per_row(network, sources, Path(folder))
    print(f"\n{'rows per picture, one a head':<34}{rows:>10}")
    print(f"{'bytes per row':<34}" + ", ".join(f"{kind} {n:.0f}" for kind, n in sizes.items()))
    hours = lean * MILLION / 3600
    print(f"\na million pictures, {network}")
    print(f"{'core hours, forward alone':<34}{forward * MILLION / 3600:>10.0f}")
    print(f"{'core hours, stats':<34}{hours:>10.0f}  at {core_hour} each: {hours * core_hour:.2f}")
    for kind in ("parquet", "csv", "journal"):
        gigabytes = sizes[kind] * rows * MILLION / 1e9
        print(f"{f'gigabytes, {kind}':<34}{gigabytes:>10.2f}")
    gpu_hours = operations * MILLION / (gpu_teraflops * 1e12) / 3600
    print(f"{'floating-point operations each':<34}{operations / 1e9:>10.1f} billion")
    print(
        f"{'GPU hours, at ' + format(gpu_teraflops, 'g') + ' TFLOP/s':<34}{gpu_hours:>10.2f}"
        f"  at {gpu_hour} each: {gpu_hours * gpu_hour:.2f}"
    )


def compare(network: str, sources: list[Source]) -> tuple[float, float]:
    """Time every picture every way; return the seconds of forward passes and of statistics."""
    options = Options(inputs=("-",), networks=(network,))
    full = Options(inputs=("-",), networks=(network,), baselines=True)
    module = load(network).module
    ways = {
        "forward": lambda source: predict(network, source),
        "stats": lambda source: measure_input(source, options),
        "stats --baselines": lambda source: measure_input(source, full),
    }
    observed = observe_blocks(module, read_source(sources[0].location).image, to_the_end=False)
    record = observed.records[-1]
    vectors = distances_of(record, observed.records, observed.vectors)
    sums = sum_rows([record], generator=seeded(), shuffles=False)
    parts = {
        "  reading and hashing the file": lambda source: read_source(source.location),
        "  forward pass until the last block": lambda source: observe_blocks(
            module, read_source(source.location).image, to_the_end=False
        ),
        "  one pass over all rows": lambda _: sum_rows(
            [record], generator=seeded(), shuffles=False
        ),
        "  divergence of pairs": lambda _: jensen_shannon_nats(
            sums, generator=seeded(), shuffles=False
        ),
        "  effective rank of a sample": lambda _: sampled_ranks(
            sums.sample_rows, generator=seeded(), shuffles=False
        ),
        "  all statistics of a block": lambda _: degeneracy.measure(
            record, vectors=vectors, shuffles=False
        ),
    }
    taken: dict[str, list[float]] = {name: [] for name in (*ways, *parts)}
    for source in [sources[0], *sources]:  # the first warms up and is forgotten
        for name, way in {**ways, **parts}.items():
            start = process_time()
            way(source)
            taken[name].append(process_time() - start)
    seconds = {name: median(times[1:]) for name, times in taken.items()}
    print(f"{len(sources)} pictures, {network}, {len(record.query)} queries, one thread\n")
    print(f"{'CPU seconds per picture':<34}{'':>10}{'of forward':>12}")
    for name, value in seconds.items():
        print(f"{name:<34}{value:>10.3f}{value / seconds['forward']:>12.2f}")
    return seconds["forward"], seconds["stats"]


def predict(network: str, source: Source) -> torch.Tensor:
    """Read a picture and run a network on it."""
    module = load(network).module
    with torch.no_grad():
        return module(module.preprocess(read_source(source.location).image))


def count_operations(network: str, source: Source) -> int:
    """Return the floating-point operations of matrix products and convolutions for one picture."""
    options = Options(inputs=("-",), networks=(network,))
    with FlopCounterMode(display=False) as counter:
        measure_input(source, options)
    return counter.get_total_flops()


def bytes_per_row(
    network: str, sources: list[Source], folder: Path
) -> tuple[int, dict[str, float]]:
    """Return how many rows a picture has, and how large one is in every format and the journal."""
    options = Options(inputs=("-",), networks=(network,))
    done = [measure_input(source, options) for source in sources]
    measured = [row for one in done for row in one.rows]
    rows = measured * (1000 // len(measured) + 1)
    sizes = {}
    for suffix, write in FORMATS.items():
        path = folder / f"rows{suffix}"
        write(path, columns(options), rows)
        sizes[suffix[1:]] = path.stat().st_size / len(rows)
    journal = sum(map(_journal_bytes, done)) / len(measured)
    return len(done[0].rows), {**sizes, "journal": journal}


def _journal_bytes(one: Done) -> int:
    """Return how many bytes the journal takes of what was measured of a picture."""
    return len(json.dumps(asdict(one)))


def seeded() -> torch.Generator:
    """Return a fresh source of random numbers."""
    return torch.Generator().manual_seed(0)


if __name__ == "__main__":
    typer.run(main)
