"""All heads of a vision transformer, against how others extract them.

`python -m benchmarks --only peers`. Asked for is the same everywhere: of every layer and head, the
row of one query. Peers hold all rows of all queries, as their interfaces have it. All ways run in
turns in one process; memory is what a run needs beyond the networks, which are there already. A
peer that is not installed is said to be absent.
"""

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch

from benchmarks import baselines
from benchmarks.costs import cost_of, free_bytes, headlines_of
from benchmarks.headline import Headline, Run, in_turns
from nonlocal_lens.analysis import capture, terms
from nonlocal_lens.models import load_network

NAME = "vit_base_patch16_224"
SIDES = {True: (224,), False: (224, 512)}
"""Quick or whole -> sides of the picture in pixels."""
LAYERS = {True: 4, False: 12}
HEADS, PATCH = 12, 16

BERTVIZ_AT_MOST = 224
"""Pixels from which on its page of text would have gigabytes."""


def headlines(rounds: int, *, quick: bool) -> list[Headline]:
    """Return time and memory of all ways at all sizes."""
    found = []
    for side in SIDES[quick]:
        found += at_size(side, LAYERS[quick], rounds, quick=quick)
    return found


def at_size(side: int, layers: int, rounds: int, *, quick: bool) -> list[Headline]:
    """Return time and memory of all ways at one size; why not, where a peer is not measured."""
    torch.manual_seed(0)
    picture = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    name = f"the same query in {layers * HEADS} heads of a ViT-B/16, {side} x {side}"
    runs, reasons = {}, {}
    for peer, (way, package) in PEERS.items():
        if quick and way is bertviz:  # its page takes seconds
            continue
        reason = absent(package, side, layers)
        try:
            if reason is None:
                runs[peer] = way(picture, side, layers)
                runs[peer]()
        except Exception as error:  # a peer of another version must not hide the others
            runs.pop(peer, None)
            reason = f"not measured: {type(error).__name__}: {error}"
        if reason is not None:
            reasons[peer] = reason
    own, *others = in_turns(rounds, ours(picture, side, layers), *runs.values(), measure=cost_of)
    found = [Headline(name, "CPU s", (), peer, note=reason) for peer, reason in reasons.items()]
    for peer, costs in zip(runs, others, strict=True):
        found += headlines_of(name, own, peer, costs, beyond="the network")
    return found


def held_bytes(side: int, layers: int) -> float:
    """Return what the attention of all heads takes in single precision."""
    tokens = (side // PATCH) ** 2 + 1
    return 4.0 * layers * HEADS * tokens**2


def absent(package: str, side: int, layers: int) -> str | None:
    """Return why a peer is not measured; None if it is."""
    if find_spec(package) is None:
        return f"{package} is not installed"
    gigabytes = held_bytes(side, layers) / 1e9
    if package == "bertviz" and side > BERTVIZ_AT_MOST:
        return f"left out: its page holds {gigabytes:.2g} GB of numbers as text"
    if gigabytes * 1.5e9 > free_bytes():
        return f"left out: it holds {gigabytes:.2g} GB, and this machine has less to spare"
    return None


def ours(picture: np.ndarray, side: int, layers: int) -> Run:
    """Return our way: capture, and the row of the query in every head."""
    network = load_network(f"timm:{NAME}?pretrained=false&img_size={side}&depth={layers}")
    position = queried(side)

    def run() -> None:
        for record in capture(network, picture):
            terms.attention(record, [position])

    return run


def eager(picture: np.ndarray, side: int, layers: int) -> Run:
    """Return the way of Hugging Face's documentation."""
    network, x = hugging_face(side, layers), as_input(picture)
    position = 1 + queried(side)
    return lambda: [layer[0, :, position] for layer in baselines.eager_attentions(network, x)]


def timm(picture: np.ndarray, side: int, layers: int) -> Run:
    """Return the way of timm's own utility."""
    held, x = baselines.timm_attentions(NAME, img_size=side, depth=layers), as_input(picture)
    position = 1 + queried(side)
    return lambda: [layer[0, :, position] for layer in held(x)]


def bertviz(picture: np.ndarray, side: int, layers: int) -> Run:
    """Return BertViz's way: attention of Hugging Face's network into its page."""
    network, x = hugging_face(side, layers), as_input(picture)
    tokens = [str(number) for number in range((side // PATCH) ** 2 + 1)]
    return lambda: baselines.bertviz_page(baselines.eager_attentions(network, x), tokens)


def hugging_face(side: int, layers: int) -> torch.nn.Module:
    """Return a ViT-B/16 that gives its attention away."""
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(image_size=side, num_hidden_layers=layers, attn_implementation="eager")
    return ViTModel(config).eval()


def as_input(picture: np.ndarray) -> torch.Tensor:
    """Return a picture as a network of a peer takes it: (1, 3, side, side) in [0, 1]."""
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255


def queried(side: int) -> int:
    """Return the patch that is asked for, in the middle of the picture."""
    return (side // PATCH) ** 2 // 2


PEERS: dict[str, tuple[Callable[[np.ndarray, int, int], Run], str]] = {
    "output_attentions, eager (transformers)": (eager, "transformers"),
    "AttentionExtract (timm)": (timm, "timm"),
    "head_view (bertviz)": (bertviz, "bertviz"),
}
"""What is compared -> how it is made, and the package that it needs."""
