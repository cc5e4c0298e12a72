"""Does a query's attention point at what its output depends on? Attention beside attributions."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.capture import attention_blocks, evaluating
from nonlocal_lens.analysis.cell_means import cell_means
from nonlocal_lens.analysis.class_score import ClassScore, Score, class_score
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.images import ImageSource
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.streaming import shares
from nonlocal_lens.models.blocks import AttentionBlock
from nonlocal_lens.models.wrappers import unwrapped

INTEGRATION_STEPS = 16
"""Points on the way from a gray image at which integrated gradients are taken."""

OCCLUDED_CELLS = 6
"""Side of the square that occlusion grays out, and its stride, in query cells.

A fifth of the grid's side where that is less.
"""

# captum is imported where it is used: it takes longer to import than all the rest


@dataclass(frozen=True, eq=False)
class Attribution:
    """What the score of one class owes to every key that is a place."""

    method: str  # a key of METHODS
    target: int  # the class whose score it is
    relevance: Float[Tensor, " placed"]  # without sign; only the ratios mean anything


@dataclass(frozen=True)
class PointedAt:
    """How well one row of attention agrees with an attribution of the same query's output."""

    rank_correlation: float  # Spearman's, -1 to 1; NaN where either is the same everywhere
    overlap: float  # mass that both put on the same keys, 0 to 1; see `agreement`
    uniform_overlap: float  # the same for uniform attention: what knowing nothing reaches


def attributions(
    network: nn.Module,
    image: ImageSource,
    query: int,
    *,
    block: str | None = None,
    head: int | None = None,
    methods: tuple[str, ...] | None = None,
    target: int | None = None,
) -> tuple[AttentionRecord, tuple[Attribution, ...]]:
    """Ask captum what a class score depends on, by every method.

    | method               | relevance                                                         |
    |----------------------|-------------------------------------------------------------------|
    | grad_cam             | the block's output, weighted by gradients (Selvaraju et al. 2017) |
    | integrated_gradients | pixels, from gray to the image (Sundararajan et al. 2017)         |
    | saliency             | size of the gradient at pixels (Simonyan et al. 2014)             |
    | occlusion            | change of the score when squares are grayed out (Zeiler 2014)     |

    Relevance of pixels is summed over colors and averaged over a key's cell; signs are dropped.
    Gray is 0 in the network's input, its mean color. The score is the logit at the middle of the
    query's cell where the network scores every pixel, and that of the whole picture where it scores
    pictures. Grad-CAM is of blocks whose output is a map of the query's cells: those of this
    package.

    Args:
        network: A module whose attention is read and whose output is class scores,
            (1, classes, height, width) or (1, classes), or holds them as `logits` or `out`.
        image: As for `analysis.capture.capture`; the same input is made of it.
        query: The number of a query of the record: flat cells first, tokens that lie nowhere after.
        block: Name of the attention block; the first if not given.
        head: Which of the block's heads; the first if not given.
        methods: Keys of `METHODS`; all that are possible if not given. Occlusion is the slow one.
        target: The class; the one with the highest score if not given.

    Returns:
        The record of the block and head for the image, and an attribution for each method.

    Raises:
        ValueError: There is no such block, head, query, method or class, the image cannot be used,
            the output is no class scores, or no key is a place.
    """
    network = unwrapped(network)
    asked = class_score(network, image, query, block=block, head=head, target=target)
    return asked.record, attributions_of(network, asked, methods)


def attributions_of(
    network: nn.Module, asked: ClassScore, methods: tuple[str, ...] | None
) -> tuple[Attribution, ...]:
    """Return attributions of a score that is known already: see `attributions`.

    Args:
        network: What it is a score of.
        asked: The score.
        methods: Keys of `METHODS`; all that are possible if None.

    Raises:
        ValueError: There is no such method, or it is not possible with this block.
    """
    for method in methods or ():
        if method not in METHODS:
            raise ValueError(f"unknown method {method!r}; available: {', '.join(METHODS)}")
    record = asked.record
    own = attention_blocks(network).get(record.block)
    if methods is None:
        methods = tuple(name for name in METHODS if own is not None or name != "grad_cam")
    elif "grad_cam" in methods and own is None:
        others = ", ".join(name for name in METHODS if name != "grad_cam")
        raise ValueError(
            f"grad_cam needs a block whose output is a map, and {record.block!r} is none of "
            f"this package; available: {others}"
        )
    grid = record.key_axis.grid if record.query_axis.grid is None else record.query_axis.grid
    assert grid is not None  # a key is a place
    found = []
    with evaluating(network), torch.enable_grad():
        for method in methods:
            relevance = METHODS[method](asked.score, asked.x, asked.target, own, grid)
            found.append(Attribution(method, asked.target, _on_keys(relevance, record)))
    return tuple(found)


def compare(
    record: AttentionRecord, query: int, attribution: Attribution
) -> dict[terms.Term, PointedAt]:
    """Return how well the whole, the pairwise and the unary row of a query agree with it.

    Of what falls on the picture: keys that are no places have no attribution.
    """
    placed = record.key_axis.placed
    return {
        term: agreement(terms.attention(record, [query], term)[0, :placed], attribution.relevance)
        for term in terms.TERMS
    }


def agreement(
    attention: Float[Tensor, " key_pos"], relevance: Float[Tensor, " key_pos"]
) -> PointedAt:
    """Compare two maps over the keys, signs dropped.

    The rank correlation asks whether they order the keys alike. For the overlap both are divided
    by their sums, and the smaller of the two is summed over keys: 1 means the same map, 0 that they
    share no key. NaN where a map is 0 everywhere.
    """
    from scipy.stats import spearmanr  # late: it takes a second

    attention, relevance = attention.double().abs(), relevance.double().abs()
    p, q = (shares(weights[None])[0] for weights in (attention, relevance))
    uniform = torch.full_like(q, 1 / len(q))
    constant = attention.amin() == attention.amax() or relevance.amin() == relevance.amax()
    correlation = torch.nan if constant else spearmanr(attention, relevance).statistic.item()
    overlap, uniform_overlap = (torch.minimum(row, q).sum().item() for row in (p, uniform))
    return PointedAt(correlation, overlap, uniform_overlap)


def _grad_cam(
    score: Score, x: Tensor, target: int, block: AttentionBlock | None, _grid: Grid
) -> Float[Tensor, "1 1 rows cols"]:
    from captum.attr import LayerGradCam

    assert block is not None  # `attributions` asks for nothing else
    attribution = LayerGradCam(score, block).attribute(
        x.requires_grad_(), target=target, relu_attributions=True
    )
    assert isinstance(attribution, Tensor)  # one layer, one output
    return attribution


def _integrated_gradients(
    score: Score, x: Tensor, target: int, _block: object, _grid: Grid
) -> Tensor:
    from captum.attr import IntegratedGradients

    gradients: Tensor = IntegratedGradients(score).attribute(
        x, target=target, n_steps=INTEGRATION_STEPS, internal_batch_size=1
    )
    return gradients


def _saliency(score: Score, x: Tensor, target: int, _block: object, _grid: Grid) -> Tensor:
    from captum.attr import Saliency

    gradient: Tensor = Saliency(score).attribute(x.requires_grad_(), target=target)
    return gradient


def _occlusion(score: Score, x: Tensor, target: int, _block: object, grid: Grid) -> Tensor:
    sides = [
        min(min(OCCLUDED_CELLS, max(1, cells // 5)) * round(pixels / cells), pixels)
        for pixels, cells in zip(x.shape[2:], (grid.height, grid.width), strict=True)
    ]
    from captum.attr import Occlusion

    changes: Tensor = Occlusion(score).attribute(
        x,
        target=target,
        sliding_window_shapes=(x.shape[1], *sides),
        strides=(x.shape[1], *sides),
    )
    return changes


METHODS: dict[str, Callable[[Score, Tensor, int, AttentionBlock | None, Grid], Tensor]] = {
    "grad_cam": _grad_cam,
    "integrated_gradients": _integrated_gradients,
    "saliency": _saliency,
    "occlusion": _occlusion,
}
"""Name of an attribution method -> what computes it, on the pixels or on the block's grid."""


def _on_keys(
    relevance: Float[Tensor, "1 channels height width"], record: AttentionRecord
) -> Float[Tensor, " placed"]:
    """Return the mean size of relevance over the cell of every key that is a place."""
    axis = record.key_axis
    assert axis.grid is not None
    sizes = relevance.detach().abs().sum(dim=1)[0]
    return cell_means(sizes, axis.grid).flatten()[torch.as_tensor(axis.all_cells)]
