"""The networks that can be loaded by name. Data only: adding a network adds an entry."""

from dataclasses import dataclass

from models.networks.architecture import Architecture
from models.streets import STREET_CLASSES


@dataclass(frozen=True)
class NetworkSpec:
    """What a bundled network is; how well it does stands in its card beside the weights."""

    title: str
    summary: str
    architecture: Architecture


_CLASSES = tuple(STREET_CLASSES)

NETWORKS: dict[str, NetworkSpec] = {
    "streets-dnl": NetworkSpec(
        title="Streets, disentangled non-local",
        summary="whitened pairwise softmax plus a unary softmax of its own (Yin et al. 2020)",
        architecture=Architecture(_CLASSES, "disentangled", {"temperature": 0.2, "init": "awake"}),
    ),
    "streets-nl": NetworkSpec(
        title="Streets, non-local",
        summary="embedded Gaussian: one softmax couples both terms (Wang et al. 2018)",
        architecture=Architecture(_CLASSES, "non_local", {"init": "awake"}),
    ),
    "streets-base": NetworkSpec(
        title="Streets, no attention",
        summary="the same network trained equally long without a block: the baseline",
        architecture=Architecture(_CLASSES),
    ),
}
