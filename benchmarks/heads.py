"""Statistics of all heads of a ViT-B/16, against its forward pass and against the plain way."""

import torch

from benchmarks import baselines
from benchmarks.headline import Headline, in_turns
from nonlocal_lens.analysis import capture, degeneracy
from nonlocal_lens.app.pictures import sample_picture
from nonlocal_lens.models import load_network

NETWORK = "timm:vit_base_patch16_224?pretrained=false"


def headlines(rounds: int, *, quick: bool) -> list[Headline]:
    """Return what capture with all statistics of 144 heads takes."""
    network, picture = load_network(NETWORK), sample_picture("astronaut").image
    x = network.preprocess(picture)

    def ours() -> None:
        degeneracy.measure_heads(capture(network, picture), shuffles=False)

    def forward() -> None:
        with torch.inference_mode():
            network(x)

    cost, alone = in_turns(rounds, ours, forward)
    found = [
        Headline(
            "capture with all statistics of 144 heads",
            "CPU s",
            cost,
            "the forward pass alone",
            alone,
        )
    ]
    run = baselines.timm_attentions("vit_base_patch16_224")

    def plain() -> None:
        baselines.entropies_of_heads(run(x))

    cost, theirs = in_turns(rounds, ours, plain)
    name = "AttentionExtract (timm), then entropy and information alone"
    return [
        *found,
        Headline("capture with all statistics of 144 heads", "CPU s", cost, name, theirs),
    ]
