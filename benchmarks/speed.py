"""Forward passes of the bundled networks as they are loaded, against their plain form.

Plain is what a checkpoint of PyTorch gives: weights with their channels first. Outputs must agree
to `TOLERANCE` of the largest, and attention, too.
"""

import torch

from benchmarks.headline import Headline, in_turns
from nonlocal_lens.analysis import capture, terms
from nonlocal_lens.models import list_networks, load_network
from nonlocal_lens.streets import render_scene

TOLERANCE = 1e-5


def headlines(rounds: int, *, quick: bool) -> list[Headline]:
    """Return the seconds of a forward pass both ways, for the networks that segment."""
    names = list_networks("segmentation")
    return [compare(name, rounds) for name in (names[:1] if quick else names)]


def compare(name: str, rounds: int) -> Headline:
    """Return what a picture takes as loaded and plainly; raise if they do not agree."""
    network = load_network(name)
    plain = load_network(name).to(memory_format=torch.contiguous_format)
    picture = render_scene(3).image
    x = network.preprocess(picture)
    first = x.contiguous()
    with torch.inference_mode():
        expected, got = plain(first), network(x)
    worst = float((got - expected).abs().max() / expected.abs().max())
    assert worst < TOLERANCE, f"{name}: outputs differ by {worst:.1e}"
    for one, other in zip(capture(network, picture), capture(plain, picture), strict=True):
        ends = [0, len(one.query) - 1]
        rows, plain_rows = (terms.attention(record, ends) for record in (one, other))
        apart = float((rows - plain_rows).abs().max() / plain_rows.abs().max())
        assert apart < 10 * TOLERANCE, f"{name}: attention differs by {apart:.1e}"

    def run(module: torch.nn.Module, given: torch.Tensor) -> None:
        with torch.inference_mode():
            module(given)

    ours, theirs = in_turns(rounds, lambda: run(network, x), lambda: run(plain, first))
    note = f"outputs differ by {worst:.0e} of the largest"
    of = f"a picture of {picture.shape[1]} x {picture.shape[0]} pixels through {name}"
    return Headline(of, "CPU s", ours, "channels first", theirs, note)
