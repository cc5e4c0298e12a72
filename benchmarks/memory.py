"""What a large image costs in memory: `python -m benchmarks.memory`.

A disentangled network on ResNet-50-D8 sees 1024 x 2048 pixels: 32 768 positions, whose attention
alone would take 4.3 GB if it were held. The network has the published sizes and random weights. It
is run, captured and asked for the row of one query, as the app does, in a process of its own, whose
greatest resident memory up to each step is what the operating system says it was.
"""

import json
import subprocess
import sys
from resource import RUSAGE_SELF, getrusage
from time import perf_counter

import numpy as np
import torch
from skimage.data import astronaut

from analysis import terms
from analysis.capture import observe
from models.blocks import DisentangledNonLocalBlock
from models.networks.fcn_head import FCNHead
from models.networks.resnet_v1c import ResNetV1c
from models.networks.segmentation import SegmentationNetwork
from models.preprocess import Preprocess

SIZE = (1024, 2048)  # height and width of the image, in pixels
POSITIONS = SIZE[0] * SIZE[1] // 64
LIMIT = 3e9  # bytes


def main() -> None:
    """Run every step in a fresh process and print what it needed."""
    if sys.argv[1:] == ["measure"]:
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


@torch.inference_mode()
def measure() -> dict[str, dict[str, float]]:
    """Return the peak of this process's memory after every step, and the seconds it took."""
    found = {}
    start = perf_counter()

    def note(step: str) -> None:
        nonlocal start
        peak = getrusage(RUSAGE_SELF).ru_maxrss * 1024
        found[step] = {"bytes": peak, "seconds": perf_counter() - start}
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
