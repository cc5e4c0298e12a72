"""Attributions of one pixel's class, against captum and torch-cam used by themselves."""

from importlib.util import find_spec

from benchmarks import baselines
from benchmarks.headline import Headline, in_turns
from nonlocal_lens.analysis.attribution import attributions
from nonlocal_lens.app.pictures import sample_picture
from nonlocal_lens.models import load_network

QUERY, STRIDE = 1365, 8


def headlines(rounds: int, *, quick: bool) -> list[Headline]:
    """Return what an attribution with the block's record takes beside the attribution alone."""
    network, picture = load_network("streets-dnl"), sample_picture("astronaut").image
    x = network.preprocess(picture)
    row, column = (x.shape[2] // 2, x.shape[3] // 2)
    with_record = "saliency of a pixel's class, and the block's record"

    def ours() -> None:
        attributions(network, picture, QUERY, methods=("saliency",))

    def captum() -> None:
        baselines.captum_saliency(network, x, row // STRIDE, column // STRIDE)

    cost, theirs = in_turns(rounds, ours, captum)
    found = [Headline(with_record, "CPU s", cost, "captum alone", theirs)]
    name = "Grad-CAM of a pixel's class, and the block's record"
    if find_spec("torchcam") is None:
        return [*found, Headline(name, "CPU s", (), "torch-cam", note="torchcam is not installed")]

    def grad_cam() -> None:
        attributions(network, picture, QUERY, methods=("grad_cam",))

    def torchcam() -> None:
        baselines.torchcam_grad_cam(network, "head.block", x, row // STRIDE, column // STRIDE)

    cost, theirs = in_turns(rounds, grad_cam, torchcam)
    return [*found, Headline(name, "CPU s", cost, "torch-cam alone", theirs)]
