"""All heads of a vision transformer, against how others extract them: `python -m benchmarks.peers`.

Asked for is the same everywhere: of every layer and head, the row of one query. Peers hold all rows
of all queries, as their interfaces have it. Each way runs in a process of its own, so that its
memory can be told; a peer that is not installed is said to be absent.
"""

import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from time import process_time

import numpy as np
import torch

from benchmarks import baselines
from benchmarks.headline import Headline, in_a_process
from nonlocal_lens.analysis import capture, terms
from nonlocal_lens.models import load_network
from tests.peak_memory import peak_megabytes

SIDES = {"quick": (224,), "whole": (224, 512, 1024)}
HELD = {224: 0.1, 512: 0.8, 1024: 9.7}
"""Side in pixels -> gigabytes of the attention of 144 heads in single precision."""

PEERS = {
    "output_attentions, eager (transformers)": ("eager", "transformers"),
    "AttentionExtract (timm)": ("timm", "timm"),
    "head_view (bertviz)": ("bertviz", "bertviz"),
}
BERTVIZ_AT_MOST = 224
"""Pixels from which on its page of text would have gigabytes."""


def headlines(rounds: int, *, quick: bool) -> list[Headline]:
    """Return time and memory of all ways at all sizes."""
    found = []
    for side in SIDES["quick" if quick else "whole"]:
        ours = measured("ours", side, rounds)
        for peer, (way, package) in PEERS.items():
            if quick and way == "bertviz":  # its page takes seconds
                continue
            name = f"the same query in 144 heads of a ViT-B/16, {side} x {side}"
            reason = absent(package, way, side)
            if reason is None:
                try:
                    theirs = measured(way, side, rounds)
                except RuntimeError as error:
                    reason = f"not measured: {error}"
            if reason is not None:
                found.append(Headline(name, "CPU s", (), peer, note=reason))
                continue
            found.append(Headline(name, "CPU s", ours["seconds"], peer, theirs["seconds"]))
            memory = f"{name}: memory beyond the network"
            found.append(Headline(memory, "MB", ours["megabytes"], peer, theirs["megabytes"]))
    return found


def absent(package: str, way: str, side: int) -> str | None:
    """Return why a peer is not measured; None if it is."""
    if find_spec(package) is None:
        return f"{package} is not installed"
    if way == "bertviz" and side > BERTVIZ_AT_MOST:
        return f"left out: its page holds {HELD[side]:g} GB of numbers as text"
    if HELD[side] * 1.5e9 > free_bytes():
        return f"left out: it holds {HELD[side]:g} GB, and this machine has less to spare"
    return None


def free_bytes() -> float:
    """Return how much memory the machine has to spare."""
    with open("/proc/meminfo", encoding="ascii") as lines:  # noqa: PTH123 - no regular file
        return next(float(line.split()[1]) * 1024 for line in lines if "MemAvailable" in line)


def measured(way: str, side: int, rounds: int) -> dict[str, tuple[float, ...]]:
    """Return seconds and megabytes of a way, in a process of its own."""
    found = in_a_process("benchmarks.peers", way, str(side), str(rounds))
    return {name: tuple(values) for name, values in found.items()}


def measure(way: str, side: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every round, and the memory beyond what the network itself needs."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    picture = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    run = WAYS[way](picture, side)
    seconds = []
    for _ in range(rounds + 1):  # the first is not counted
        start = process_time()
        run()
        seconds.append(process_time() - start)
    return {"seconds": seconds[1:], "megabytes": [max(1.0, peak_megabytes() - BEFORE[0])] * rounds}


BEFORE = [0.0]
"""The memory that a process has had once its network has run without anything kept."""


def ran(forward: Callable[[], object]) -> None:
    """Run a network once, and note what it needs by itself."""
    with torch.inference_mode():
        forward()
    BEFORE[0] = peak_megabytes()


def ours(picture: np.ndarray, side: int) -> Callable[[], object]:
    """Return our way: capture, and the row of the query in every head."""
    network = load_network(f"timm:vit_base_patch16_224?pretrained=false&img_size={side}")
    ran(lambda: network(network.preprocess(picture)))
    position = (side // 16) ** 2 // 2

    def run() -> None:
        for record in capture(network, picture):
            terms.attention(record, [position])

    return run


def eager(picture: np.ndarray, side: int) -> Callable[[], object]:
    """Return the way of Hugging Face's documentation."""
    from transformers import ViTConfig, ViTModel

    network = ViTModel(ViTConfig(image_size=side, attn_implementation="eager")).eval()
    x = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    sdpa = ViTModel(ViTConfig(image_size=side)).eval()
    ran(lambda: sdpa(x))
    position = (side // 16) ** 2 // 2

    def run() -> None:
        [layer[0, :, 1 + position] for layer in baselines.eager_attentions(network, x)]

    return run


def timm(picture: np.ndarray, side: int) -> Callable[[], object]:
    """Return the way of timm's own utility."""
    from timm import create_model

    x = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    fused = create_model("vit_base_patch16_224", img_size=side).eval()
    ran(lambda: fused(x))
    run_on = baselines.timm_attentions("vit_base_patch16_224", img_size=side)
    position = (side // 16) ** 2 // 2

    def run() -> None:
        [layer[0, :, 1 + position] for layer in run_on(x)]

    return run


def bertviz(picture: np.ndarray, side: int) -> Callable[[], object]:
    """Return BertViz's way: attention of Hugging Face's network into its page."""
    from transformers import ViTConfig, ViTModel

    network = ViTModel(ViTConfig(image_size=side, attn_implementation="eager")).eval()
    x = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    ran(lambda: network(x))
    tokens = [str(number) for number in range((side // 16) ** 2 + 1)]
    return lambda: baselines.bertviz_page(baselines.eager_attentions(network, x), tokens)


WAYS = {"ours": ours, "eager": eager, "timm": timm, "bertviz": bertviz}

if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
