"""Capture, against the forward pass that it needs: `python -m benchmarks.capturing`.

The same picture through the same network in one thread: run alone, and run with all its attention
kept as queries and keys. Weights are random where nothing depends on them.
"""

import numpy as np
import torch

from benchmarks.headline import Headline, in_turns
from benchmarks.memory import published_size
from nonlocal_lens.analysis import capture
from nonlocal_lens.app.pictures import sample_picture
from nonlocal_lens.models import load_network

VIT_B = "torchvision:vit_b_16?pretrained=false"


def headlines(rounds: int, *, quick: bool) -> list[Headline]:
    """Return what capture costs beside the forward pass, for three kinds of networks."""
    image = sample_picture("astronaut").image
    wide = image[:256, :512] if quick else np.tile(image, (1, 2, 1))  # 512 x 1024 pixels
    cases = [
        ("streets-dnl, 512 x 512 pixels", load_network("streets-dnl"), image),
        ("ViT-B/16, 144 heads, 224 x 224", load_network(VIT_B), image),
        (f"DNL-R50-D8, {wide.shape[0]} x {wide.shape[1]}", published_size(), wide),
    ]
    return [compare(name, network, picture, rounds) for name, network, picture in cases]


def compare(name: str, network: torch.nn.Module, picture, rounds: int) -> Headline:
    """Return what both ways take of the processor."""
    x = network.preprocess(picture)

    def forward() -> None:
        with torch.inference_mode():
            network(x)

    ours, theirs = in_turns(rounds, lambda: capture(network, picture), forward)
    return Headline(f"capture of {name}", "CPU s", ours, "its forward pass alone", theirs)
