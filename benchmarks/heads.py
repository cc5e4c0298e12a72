"""Statistics of all heads of a ViT-B/16, against its forward pass and against the plain way."""

import torch

from benchmarks import baselines
from benchmarks.headline import Headline, in_turns
from nonlocal_lens.analysis import capture, degeneracy
from nonlocal_lens.app.pictures import sample_picture
from nonlocal_lens.models import load_network

NETWORK = "vit_base_patch16_224"
LAYERS, QUICK_LAYERS, HEADS = 12, 3, 12
"""All layers and those of a quick run; heads of each."""


def headlines(rounds: int, *, quick: bool) -> list[Headline]:
    """Return what capture with all statistics of all heads takes."""
    layers = QUICK_LAYERS if quick else LAYERS
    network = load_network(f"timm:{NETWORK}?pretrained=false&depth={layers}")
    picture = sample_picture("astronaut").image
    x = network.preprocess(picture)

    def ours() -> None:
        degeneracy.measure_heads(capture(network, picture), shuffles=False)

    def forward() -> None:
        with torch.inference_mode():
            network(x)

    held = baselines.timm_attentions(NETWORK, depth=layers)

    def plain() -> None:
        baselines.entropies_of_heads(held(x))

    name = f"capture with all statistics of {layers * HEADS} heads, {layers} layers"
    other = "AttentionExtract (timm), then entropy and information alone"
    cost, alone, theirs = in_turns(rounds, ours, forward, plain)
    return [
        Headline(name, "CPU s", cost, "the forward pass alone", alone),
        Headline(name, "CPU s", cost, other, theirs),
    ]
