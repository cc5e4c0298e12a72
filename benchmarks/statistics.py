"""Degeneracy statistics in one pass, against the plain way: `python -m benchmarks.statistics`.

A grid of 97 x 97 (9 409 positions) with 256 channels, as published segmentation heads have it. The
plain way follows the definitions: it builds logits and attention, compares all pairs of rows by a
matrix product, and knows no closed form; pairs and rows that are sampled are the same. It leaves
the baselines out, which the report has. Either way runs in a process of its own, so that its
memory can be told; values must agree. Time is that of the processor, which other programs on the
machine do not change.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from math import log
from time import process_time

import torch
from torch import Tensor

from benchmarks.costs import cost_of, headlines_of
from benchmarks.headline import Headline, in_turns
from nonlocal_lens.analysis import degeneracy
from nonlocal_lens.analysis.divergence import pairs_of
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.spectrum import RANKED
from nonlocal_lens.analysis.streaming import SAMPLE
from tests.peak_memory import peak_megabytes

SIDE, CHANNELS = 97, 256
QUICK_SIDE = 37
COMPARED = (
    "unary_share",
    "query_information_bits",
    "cosine_distance",
    "entropy_bits",
    "perplexity",
    "jsd_nats",
    "effective_rank",
    "attention_distance",
    "query_cosine_distance",
    "key_cosine_distance",
)


def headlines(rounds: int, *, quick: bool) -> list[Headline]:
    """Return time and memory of one pass, and of the plain way."""
    torch.manual_seed(0)
    side = QUICK_SIDE if quick else SIDE
    block = record(side)
    ours, theirs = in_turns(rounds, lambda: streaming(block), lambda: plain(block), measure=cost_of)
    name = f"all statistics of {side} x {side} positions, {CHANNELS} channels"
    other = "from the definitions, with the attention held"
    return headlines_of(name, ours, other, theirs, beyond="the record")


def main() -> None:
    """Print time, memory and the largest difference of both ways."""
    if len(sys.argv) > 1:
        print(json.dumps(WAYS[sys.argv[1]](SIDE)))
        return
    found = {way: run(way) for way in WAYS}
    print(f"{SIDE} x {SIDE} positions, {CHANNELS} channels, {torch.get_num_threads()} threads\n")
    print(f"{'':<32}{'CPU s':>10}{'extra MB':>10}")
    for way, row in found.items():
        print(f"{way:<32}{row['seconds']:>10.3f}{row['megabytes']:>10.0f}")
    for slow, fast in (("plain", "streaming"), ("plain unary share", "closed unary share")):
        times = found[slow]["seconds"] / found[fast]["seconds"]
        memory = found[slow]["megabytes"] / max(found[fast]["megabytes"], 1)
        values = found[slow]["values"], found[fast]["values"]
        worst = max(abs(values[0][name] / values[1][name] - 1) for name in values[0])
        print(
            f"\n{fast} against {slow}: {times:.1f} x as fast, {memory:.1f} x less memory, "
            f"values differ by at most {worst:.1e} of themselves"
        )


def run(way: str) -> dict:
    """Return what a way measures of itself in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.statistics", way]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def centers(grid: Grid) -> Tensor:
    """Return the image point (x, y) at the middle of every cell."""
    return torch.tensor([grid.center(grid.cell(position)) for position in range(grid.positions)])


def timed(measure: Callable[[AttentionRecord], dict[str, float]]) -> Callable[[int], dict]:
    """Return a way to be run: time, peak memory beyond the record, and values."""

    def measured(side: int) -> dict:
        torch.manual_seed(0)
        measure(record(side=11))  # what is loaded once is not counted
        large = record(side)
        before = peak_megabytes()
        start = process_time()
        values = measure(large)
        seconds = process_time() - start
        megabytes = peak_megabytes() - before
        return {"seconds": seconds, "megabytes": megabytes, "values": values}

    return measured


def record(side: int) -> AttentionRecord:
    """Return a block whose queries and keys know where they are, and share a mean."""
    grid = Grid.tiling((8 * side, 8 * side), side, side)
    waves = torch.randn(2, CHANNELS) / 100
    place = (centers(grid) @ waves).sin()
    query, key = (place + 0.3 * torch.randn(side**2, CHANNELS) + 0.2 for _ in range(2))
    return AttentionRecord(
        "block", "embedded_gaussian", "coupled", CHANNELS**-0.5, query, key, None, grid, grid
    )


def streaming(record: AttentionRecord) -> dict[str, float]:
    """Return the statistics as the package measures them."""
    report = degeneracy.measure(record)
    return {name: getattr(report, name) for name in COMPARED}


def plain(record: AttentionRecord) -> dict[str, float]:
    """Return the statistics from their definitions."""
    queries = len(record.query)
    values = plain_unary_share(record)
    attention = (record.scale * record.query @ record.key.T).softmax(dim=1)
    entropy = entropy_nats(attention)
    apart = torch.cdist(*(centers(grid) for grid in (record.query_grid, record.key_grid)))
    sample = torch.randperm(queries, generator=seeded())[:SAMPLE].sort().values
    first, second = pairs_of(len(sample), generator=seeded())
    p, q = attention[sample[first]].double(), attention[sample[second]].double()
    jsd = entropy_nats((p + q) / 2) - (entropy_nats(p) + entropy_nats(q)) / 2
    ranked = sample[torch.randperm(len(sample), generator=seeded())[:RANKED]]
    singular = torch.linalg.svdvals(attention[ranked].double())
    mean_entropy = entropy.mean().item() / log(2)
    entropy_of_mean = entropy_nats(attention.mean(dim=0, dtype=torch.float64)[None]).item() / log(2)
    return values | {
        "query_information_bits": entropy_of_mean - mean_entropy,
        "entropy_bits": mean_entropy,
        "perplexity": entropy.exp().mean().item(),
        "jsd_nats": jsd.mean().item() * (queries - 1) / queries,
        "effective_rank": entropy_nats(singular[None] / singular.sum()).exp().item(),
        "attention_distance": (attention * apart).sum(dim=1).mean().item(),
        "cosine_distance": all_pairs(attention),
        "query_cosine_distance": all_pairs(record.query),
        "key_cosine_distance": all_pairs(record.key),
    }


def seeded() -> torch.Generator:
    """Return a fresh source of random numbers, as `degeneracy.measure` has one for every sample."""
    return torch.Generator().manual_seed(0)


def plain_unary_share(record: AttentionRecord) -> dict[str, float]:
    """Return the unary share from the logits themselves."""
    logits = record.scale * record.query @ record.key.T
    logits -= logits.mean(dim=1, keepdim=True)
    unary = logits.mean(dim=0, dtype=torch.float64)
    total = logits.square().sum(dtype=torch.float64)
    return {"unary_share": (len(logits) * unary.square().sum() / total).item()}


def closed_unary_share(record: AttentionRecord) -> dict[str, float]:
    """Return the unary share as the package measures it."""
    return {"unary_share": degeneracy.unary_share(record)}


def all_pairs(vectors: Tensor) -> float:
    """Return the mean cosine distance over all ordered pairs."""
    unit = torch.nn.functional.normalize(vectors, dim=1)
    return ((1 - (unit @ unit.T).mean(dtype=torch.float64)) / 2).item()


def entropy_nats(p: Tensor) -> Tensor:
    """Return the entropy of every row."""
    return torch.special.entr(p).sum(dim=1, dtype=torch.float64)


WAYS = {
    "streaming": timed(streaming),
    "plain": timed(plain),
    "closed unary share": timed(closed_unary_share),
    "plain unary share": timed(plain_unary_share),
}


if __name__ == "__main__":
    main()
