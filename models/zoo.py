"""The networks that can be loaded by name. Data only: adding a network adds an entry."""

from dataclasses import dataclass
from typing import Any

from nonlocal_lens.models.networks.description import (
    AnyArchitecture,
    Architecture,
    ClipArchitecture,
    HybridClipArchitecture,
    Task,
    TransformerArchitecture,
)
from nonlocal_lens.streets.classes import CLIP_LABELS, STREET_CLASSES


@dataclass(frozen=True)
class NetworkSpec:
    """What a bundled network is; how well it does stands in its card beside the weights."""

    title: str
    summary: str
    architecture: AnyArchitecture

    @property
    def task(self) -> Task:
        """What the network does: "segmentation" of an image, or naming what happens in "clips"."""
        return self.architecture.task


def _streets(block: str | None, **options: Any) -> Architecture:
    options = _awake(block, options)
    return Architecture(tuple(STREET_CLASSES), block, options, dilations=(1, 1, 1, 1))


def _clips(block: str | None, **options: Any) -> ClipArchitecture:
    return ClipArchitecture(CLIP_LABELS, block, _awake(block, options))


def _awake(block: str | None, options: dict[str, Any]) -> dict[str, Any]:
    return options if block is None else {**options, "init": "awake"}


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
    "streets-vit": NetworkSpec(
        title="Streets, vision transformer",
        summary="7 layers of 5 heads on patches of 16 pixels (after Dosovitskiy et al. 2021)",
        architecture=TransformerArchitecture(tuple(STREET_CLASSES)),
    ),
    "streets-vit-reg": NetworkSpec(
        title="Streets, vision transformer with registers",
        summary="the same with four tokens that stand for nothing (Darcet et al. 2024)",
        architecture=TransformerArchitecture(tuple(STREET_CLASSES), registers=4),
    ),
    "clips-dnl": NetworkSpec(
        title="Clips, disentangled non-local",
        summary="spacetime: pairwise and unary softmax over all positions of all frames",
        architecture=_clips("disentangled", temperature=0.2),
    ),
    "clips-nl": NetworkSpec(
        title="Clips, non-local",
        summary="spacetime: one softmax over all positions of all frames (Wang et al. 2018)",
        architecture=_clips("non_local"),
    ),
    "clips-nl-space": NetworkSpec(
        title="Clips, non-local within a frame",
        summary="space-only: a position looks at its own frame (Wang et al. 2018, Table 2d)",
        architecture=_clips("space_only"),
    ),
    "clips-nl-time": NetworkSpec(
        title="Clips, non-local along time",
        summary="time-only: a position looks at its own place in all frames (ibid.)",
        architecture=_clips("time_only"),
    ),
    "clips-vit": NetworkSpec(
        title="Clips, spacetime transformer",
        summary="3 layers of 4 heads on all tokens of all frames (after Bertasius et al. 2021)",
        architecture=HybridClipArchitecture(CLIP_LABELS),
    ),
    "clips-base": NetworkSpec(
        title="Clips, no attention",
        summary="the same network trained equally long without a block: the baseline",
        architecture=_clips(None),
    ),
}
