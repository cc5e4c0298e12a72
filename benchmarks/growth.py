"""How cost grows: with the size of a picture, with tokens, with heads, with pictures.

A power of the size is fitted to the medians: 1 is linear, 2 quadratic.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.headline import Headline, Run, cpu_seconds
from nonlocal_lens.analysis import AttentionRecord, capture, degeneracy, terms
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.app.stats.columns import columns
from nonlocal_lens.app.stats.job import measure_input
from nonlocal_lens.app.stats.options import Options
from nonlocal_lens.app.stats.result import FORMATS
from nonlocal_lens.models import load_network

Case = tuple[str, Sequence[int], Sequence[int], Callable[[int], Run]]


def headlines(rounds: int, *, quick: bool) -> list[Headline]:
    """Return the exponents, each with the seconds that it is fitted to."""
    torch.manual_seed(0)
    return [fitted(name, few if quick else sizes, make, rounds) for name, sizes, few, make in CASES]


def fitted(name: str, sizes: Sequence[int], make: Callable[[int], Run], rounds: int) -> Headline:
    """Return the exponent between every two neighboring rounds' fits."""
    runs = [make(size) for size in sizes]
    for run in runs[:-1]:
        run()
    taken = [[cpu_seconds(run) for run in runs] for _ in range(rounds)]
    exponents = tuple(exponent(sizes, seconds) for seconds in taken)
    medians = [median(of_size) for of_size in zip(*taken, strict=True)]
    said = ", ".join(f"{size}: {s:.2g} s" for size, s in zip(sizes, medians, strict=True))
    return Headline(name, "exponent", exponents, note=said)


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Return the power of the size that fits best, as a line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(seconds, 1e-7)), 1)[0])


def capturing(side: int) -> Run:
    """Return what captures a picture of that side, at its own size."""
    network = load_network("streets-dnl")
    network.preprocess = replace(network.preprocess, long_side=(side, side))
    picture = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return lambda: capture(network, picture)


def drawn_record(tokens: int, channels: int = 64) -> AttentionRecord:
    """Return a block of that many tokens, in a square or close to it."""
    side = round(tokens**0.5)
    grid = Grid.tiling((8 * side, 8 * side), side, side)
    query, key = torch.randn(2, side * side, channels)
    return AttentionRecord(
        "block", "embedded_gaussian", "coupled", channels**-0.5, query, key, None, grid, grid
    )


def reading_a_row(tokens: int) -> Run:
    """Return what makes the attention of one query, as a pin does."""
    record = drawn_record(tokens)
    return lambda: terms.attention(record, [tokens // 2])


def measuring(tokens: int) -> Run:
    """Return what measures all statistics of a block."""
    record = drawn_record(tokens)
    return lambda: degeneracy.measure(record)


def measuring_heads(heads: int) -> Run:
    """Return what measures all statistics of so many heads."""
    records = [drawn_record(196) for _ in range(heads)]
    return lambda: degeneracy.measure_heads(records)


def writing_rows(pictures: int) -> Run:
    """Return what writes a table of so many pictures."""
    options = Options(inputs=("rendered:0",), networks=("streets-nl",))
    from nonlocal_lens.app.batch.inputs import find_sources

    (source,) = find_sources(list(options.inputs))
    row = measure_input(source, options).rows[0]

    def run() -> None:
        with TemporaryDirectory() as folder:
            FORMATS[".parquet"](Path(folder) / "rows.parquet", columns(options), [row] * pictures)

    return run


CASES: tuple[Case, ...] = (
    (
        "capture of streets-dnl, by the side of the picture",
        (256, 512, 1024, 2048),
        (128, 256, 512),
        capturing,
    ),
    ("a query's row, by tokens", (196, 1024, 4096, 16384), (196, 1024, 4096), reading_a_row),
    ("all statistics, by tokens", (196, 784, 3136, 9409), (196, 441, 784), measuring),
    (
        "statistics of heads of 196 tokens, by heads",
        (1, 12, 48, 144),
        (1, 4, 12),
        measuring_heads,
    ),
    (
        "rows into a Parquet table, by pictures",
        (10, 100, 1000, 10_000),
        (10, 100, 1000),
        writing_rows,
    ),
)
"""What grows: in words, the sizes of a whole run and of a quick one, and what to run."""
