"""Attributions of one pixel's class, against captum and torch-cam used by themselves."""

from importlib.util import find_spec

from benchmarks import baselines
from benchmarks.headline import Headline, in_turns
from nonlocal_lens.analysis.attribution import attributions
from nonlocal_lens.app.pictures import sample_picture
from nonlocal_lens.models import load_network

STRIDE = 8


def headlines(rounds: int, *, quick: bool) -> list[Headline]:
    """Return what an attribution with the block's record takes beside the attribution alone."""
    network, picture = load_network("streets-dnl"), sample_picture("astronaut").image
    if quick:
        picture = picture[:256, :256]
    x = network.preprocess(picture)
    rows, columns = (side // STRIDE for side in x.shape[2:])
    row, column = rows // 3, columns // 3
    query = row * columns + column
    of = f"of a pixel's class, {picture.shape[0]} x {picture.shape[1]} pixels"

    def ours() -> None:
        attributions(network, picture, query, methods=("saliency",))

    def captum() -> None:
        baselines.captum_saliency(network, x, row, column)

    cost, theirs = in_turns(rounds, ours, captum)
    found = [
        Headline(f"saliency {of}, and the block's record", "CPU s", cost, "captum alone", theirs)
    ]
    name = f"Grad-CAM {of}, and the block's record"
    if find_spec("torchcam") is None:
        return [*found, Headline(name, "CPU s", (), "torch-cam", note="torchcam is not installed")]

    def grad_cam() -> None:
        attributions(network, picture, query, methods=("grad_cam",))

    def torchcam() -> None:
        baselines.torchcam_grad_cam(network, "head.block", x, row, column)

    cost, theirs = in_turns(rounds, grad_cam, torchcam)
    return [*found, Headline(name, "CPU s", cost, "torch-cam alone", theirs)]
