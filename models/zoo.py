"""The networks that can be loaded by name. Data only: adding a network adds an entry."""

from dataclasses import dataclass
from typing import Any

from models.networks.architecture import Architecture
from models.streets import STREET_CLASSES


@dataclass(frozen=True)
class NetworkSpec:
    """What a bundled network is; how well it does stands in its card beside the weights."""

    title: str
    summary: str
    architecture: Architecture


def _streets(block: str | None, **options: Any) -> Architecture:
    if block is not None:
        options["init"] = "awake"
    return Architecture(tuple(STREET_CLASSES), block, options, dilations=(1, 1, 2, 2))


NETWORKS: dict[str, NetworkSpec] = {
    "streets-dnl": NetworkSpec(
        title="Streets, disentangled non-local",
        summary="whitened pairwise softmax plus a unary softmax of its own (Yin et al. 2020)",
        architecture=_streets("disentangled", temperature=0.2),
    ),
    "streets-nl": NetworkSpec(
        title="Streets, non-local",
        summary="embedded Gaussian: one softmax couples both terms (Wang et al. 2018)",
        architecture=_streets("non_local"),
    ),
    "streets-pairwise": NetworkSpec(
        title="Streets, pairwise only",
        summary="the whitened pairwise softmax alone (Yin et al. 2020)",
        architecture=_streets("pairwise", temperature=0.2),
    ),
    "streets-unary": NetworkSpec(
        title="Streets, unary only",
        summary="one learned softmax for all queries (Yin et al. 2020)",
        architecture=_streets("unary"),
    ),
    "streets-product": NetworkSpec(
        title="Streets, product with an unshared key",
        summary="softmax(pairwise + learned unary): still one softmax (Yin et al. 2020)",
        architecture=_streets("product", temperature=0.2),
    ),
    "streets-sum": NetworkSpec(
        title="Streets, sum with a shared key",
        summary="softmax(pairwise) + softmax(mean query . key) (Yin et al. 2020)",
        architecture=_streets("sum", temperature=0.2),
    ),
    "streets-gaussian": NetworkSpec(
        title="Streets, Gaussian",
        summary="softmax of plain feature similarity, nothing embedded (Wang et al. 2018)",
        architecture=_streets("gaussian", scale=128**-0.5),
    ),
    "streets-dot": NetworkSpec(
        title="Streets, dot product",
        summary="dot products over N, no softmax: weights of any sign (Wang et al. 2018)",
        architecture=_streets("dot_product"),
    ),
    "streets-concat": NetworkSpec(
        title="Streets, concatenation",
        summary="ReLU of a sum of query and key scores, over N (Wang et al. 2018)",
        architecture=_streets("concatenation"),
    ),
    "streets-gc": NetworkSpec(
        title="Streets, global context",
        summary="one context vector for all positions (GCNet, Cao et al. 2019)",
        architecture=_streets("global_context"),
    ),
    "streets-base": NetworkSpec(
        title="Streets, no attention",
        summary="the same network trained equally long without a block: the baseline",
        architecture=_streets(None),
    ),
}
