"""Capture, against the forward pass that it needs: `python -m benchmarks --only capture`.

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
    street = image[:256, :256] if quick else image
    wide = image[:64, :256] if quick else np.tile(image, (1, 2, 1))  # 512 x 1024 pixels
    cases = [
        (f"streets-dnl, {size(street)} pixels", load_network("streets-dnl"), street),
        ("ViT-B/16, 144 heads, 224 x 224", load_network(VIT_B), image),
        (f"DNL-R50-D8, {size(wide)} pixels", published_size(), wide),
    ]
    return [compare(name, network, picture, rounds) for name, network, picture in cases]


def size(picture: np.ndarray) -> str:
    """Return height and width of a picture, in words."""
    return f"{picture.shape[0]} x {picture.shape[1]}"


def compare(name: str, network: torch.nn.Module, picture, rounds: int) -> Headline:
    """Return what both ways take of the processor."""
    x = network.preprocess(picture)

    def forward() -> None:
        with torch.inference_mode():
            network(x)

    ours, theirs = in_turns(rounds, lambda: capture(network, picture), forward)
    return Headline(f"capture of {name}", "CPU s", ours, "its forward pass alone", theirs)
