"""What a large image costs in memory: `python -m benchmarks.memory`.

A disentangled network on ResNet-50-D8 sees 1024 x 2048 pixels: 32 768 positions, whose attention
alone would take 4.3 GB if it were held. The network has the published sizes and random weights. It
is run, captured and asked for the row of one query, as the app does, in a process of its own, whose
greatest resident memory up to each step is what the operating system says it was.
"""

import json
import subprocess
import sys
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Float
from skimage.data import astronaut

from benchmarks.baselines import materialized
from benchmarks.costs import cost_of, free_bytes, headlines_of
from benchmarks.headline import Headline, Run, in_turns
from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.capture import observe
from nonlocal_lens.models.blocks import DisentangledNonLocalBlock
from nonlocal_lens.models.networks.fcn_head import FCNHead
from nonlocal_lens.models.networks.resnet_v1c import ResNetV1c
from nonlocal_lens.models.networks.segmentation import SegmentationNetwork
from nonlocal_lens.models.preprocess import Preprocess
from tests.peak_memory import peak_megabytes

SIZE = (1024, 2048)  # height and width of the image, in pixels
POSITIONS = SIZE[0] * SIZE[1] // 64
LIMIT = 3e9  # bytes
CHANNELS = 512
GRID, QUICK_GRID = (128, 256), (48, 96)
"""Rows and columns of the block by itself."""


def main() -> None:
    """Run every step in a fresh process and print what it needed."""
    if sys.argv[1:2] == ["measure"]:
        print(json.dumps(measure()))
        return
    command = [sys.executable, "-m", "benchmarks.memory", "measure"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    held = 4 * POSITIONS**2
    size = " x ".join(map(str, SIZE))
    print(f"{size} pixels, {POSITIONS} positions, {torch.get_num_threads()} threads\n")
    print(f"{'':<18}{'peak MB':>10}{'seconds':>10}{'of 4.3 GB':>12}")
    for step, row in found.items():
        share = row["bytes"] / held
        print(f"{step:<18}{row['bytes'] / 1e6:>10.0f}{row['seconds']:>10.1f}{share:>12.2f}")
    peak = max(row["bytes"] for row in found.values())
    verdict = "within" if peak <= LIMIT else "ABOVE"
    print(f"\npeak {peak / 1e9:.2f} GB, {verdict} the limit of {LIMIT / 1e9:.0f} GB")
    print(f"the attention alone, held as a matrix: {held / 1e9:.1f} GB")
    if peak > LIMIT:
        raise SystemExit(1)


def headlines(rounds: int, *, quick: bool) -> list[Headline]:
    """Return what a block's capture costs, and what a block does that holds its attention."""
    rows, columns = QUICK_GRID if quick else GRID
    name = f"a disentangled block of {rows} x {columns} positions, captured, and a query's row"
    held = "the block that holds its attention"
    bytes_held = 2.0 * 4 * (rows * columns) ** 2  # logits, and what softmax makes of them
    if bytes_held > 0.9 * free_bytes():
        reason = f"it needs {bytes_held / 1e9:.1f} GB, and this machine has less to spare"
        return [Headline(name, "CPU s", (), held, note=reason)]
    ours, theirs = in_turns(rounds, *both_ways(rows, columns), measure=cost_of)
    return headlines_of(name, ours, held, theirs, beyond="its input")


def both_ways(rows: int, columns: int) -> tuple[Run, Run]:
    """Return what captures a block on a grid and asks for a row, and what runs it as it is."""
    torch.manual_seed(0)
    x = torch.rand(CHANNELS, rows, columns)
    block = alone(columns)

    def ours() -> None:
        (record,) = observe(block, x).records
        assert record.query_grid.shape == (1, rows, columns)
        terms.attention(record, [rows * columns // 2])

    def held() -> None:
        with torch.inference_mode():
            held_block(block, x[None])

    return ours, held


def alone(columns: int) -> DisentangledNonLocalBlock:
    """Return a block that takes what it is given as it is: so many columns, without resizing."""
    block = DisentangledNonLocalBlock(CHANNELS, init="awake").eval()
    plain = Preprocess((0.0,) * CHANNELS, (1.0,) * CHANNELS, stride=1, long_side=(1, columns))
    block.preprocess = plain
    return block


def held_block(block: DisentangledNonLocalBlock, x: Float[torch.Tensor, "1 channels rows cols"]):
    """Run a disentangled block as its authors' code does: with all weights of all pairs held."""
    parts = block.project(x)
    query, key, value = (one[0] for one in (parts.query, parts.key, parts.value))
    assert parts.unary is not None
    query, key = query - query.mean(dim=0), key - key.mean(dim=0)
    pairwise = materialized(block.scale * query, key, value)
    return pairwise + parts.unary[0].softmax(dim=0) @ value


@torch.inference_mode()
def measure() -> dict[str, dict[str, float]]:
    """Return the peak of this process's memory after every step, and the seconds it took."""
    found = {}
    start = perf_counter()

    def note(step: str) -> None:
        nonlocal start
        found[step] = {"bytes": peak_megabytes() * 2**20, "seconds": perf_counter() - start}
        start = perf_counter()

    network = published_size()
    note("built")
    (record,) = observe(network, np.tile(astronaut(), (2, 4, 1))).records
    assert record.query_grid.positions == POSITIONS
    note("run and captured")
    for term in terms.TERMS:
        terms.attention(record, [POSITIONS // 2], term)
    note("a query's rows")
    return found


def published_size() -> SegmentationNetwork:
    """Return mmsegmentation's DNL-R50-D8 with random weights, for images of any size."""
    torch.manual_seed(0)
    backbone = ResNetV1c((32, 32, 64), (64, 128, 256, 512), (3, 4, 6, 3), bottleneck=True)
    head = FCNHead(2048, 512, 19, DisentangledNonLocalBlock(512, init="awake"))
    preprocess = Preprocess(stride=8, long_side=(256, SIZE[1]))
    return SegmentationNetwork(backbone, head, ("any",) * 19, preprocess).eval()


if __name__ == "__main__":
    main()
