"""Does a query's attention point at what its output depends on? Attention beside attributions."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from captum.attr import IntegratedGradients, LayerGradCam, Occlusion, Saliency
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.functional.regression import spearman_corrcoef

from analysis import terms
from analysis.capture import attention_blocks, evaluating, recording
from analysis.grid import Grid
from analysis.images import ImageSource, read_image
from analysis.record import AttentionRecord
from analysis.streaming import shares
from models.blocks import AttentionBlock
from models.preprocess import Preprocess

INTEGRATION_STEPS = 16
"""Points on the way from a gray image at which integrated gradients are taken."""

OCCLUDED_CELLS = 6
"""Side of the square that occlusion grays out, and its stride, in query cells."""

Score = Callable[[Tensor], Tensor]
"""Class scores at one point of the image: (images, 3, height, width) -> (images, classes)."""


@dataclass(frozen=True, eq=False)
class Attribution:
    """What the score of one class at one point owes to every key cell."""

    method: str  # a key of METHODS
    target: int  # the class whose score it is
    relevance: Float[Tensor, " key_pos"]  # without sign; only the ratios mean anything


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
    methods: tuple[str, ...] | None = None,
    target: int | None = None,
) -> tuple[AttentionRecord, tuple[Attribution, ...]]:
    """Ask captum what the class score at a query's cell depends on, by every method.

    | method               | relevance                                                         |
    |----------------------|-------------------------------------------------------------------|
    | grad_cam             | the block's output, weighted by gradients (Selvaraju et al. 2017) |
    | integrated_gradients | pixels, from gray to the image (Sundararajan et al. 2017)         |
    | saliency             | size of the gradient at pixels (Simonyan et al. 2014)             |
    | occlusion            | change of the score when squares are grayed out (Zeiler 2014)     |

    Relevance of pixels is summed over colors and averaged over a key's cell; signs are dropped.
    Gray is 0 in the network's input, its mean color. The score is the logit at the middle of the
    query's cell.

    Args:
        network: A module whose output is class scores, (1, classes, height, width).
        image: See `analysis.images.read_image`.
        query: A flat position of the block's query grid.
        block: Name of the attention block; the first if not given.
        methods: Keys of `METHODS`; all if not given. Occlusion is the slow one.
        target: The class; what the network says at the query if not given.

    Returns:
        The block's record for the image, and an attribution for each method.

    Raises:
        ValueError: There is no such block, query, method or class, or the image cannot be used.
    """
    blocks = attention_blocks(network)
    block = next(iter(blocks), "") if block is None else block
    if block not in blocks:
        raise ValueError(f"unknown block {block!r}; available: {', '.join(blocks) or 'none'}")
    methods = tuple(METHODS) if methods is None else methods
    for method in methods:
        if method not in METHODS:
            raise ValueError(f"unknown method {method!r}; available: {', '.join(METHODS)}")
    pixels = read_image(image)
    x = (getattr(network, "preprocess", None) or Preprocess())(pixels)
    with evaluating(network), torch.enable_grad():
        with torch.no_grad(), recording(network, pixels.shape[:2]) as records:
            scores = network(x)
        record = next(record for record in records if record.block == block)
        terms.positions(record, [query])
        row, column = _output_pixel(record.query_grid, query, tuple(scores.shape[2:]))
        target = int(scores[0, :, row, column].argmax()) if target is None else target
        if not 0 <= target < scores.shape[1]:
            raise ValueError(f"target must be a class in [0, {scores.shape[1]}), got {target}")

        def score(batch: Tensor) -> Tensor:
            scores: Tensor = network(batch)[:, :, row, column]
            return scores

        found = []
        for method in methods:
            on_grid = METHODS[method](score, x, target, blocks[block], record.query_grid)
            found.append(Attribution(method, target, _on_keys(on_grid, record)))
    return record, tuple(found)


def compare(
    record: AttentionRecord, query: int, attribution: Attribution
) -> dict[terms.Term, PointedAt]:
    """Return how well the whole, the pairwise and the unary row of a query agree with it."""
    return {
        term: agreement(terms.attention(record, [query], term)[0], attribution.relevance)
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
    attention, relevance = attention.double().abs(), relevance.double().abs()
    p, q = (shares(weights[None])[0] for weights in (attention, relevance))
    uniform = torch.full_like(q, 1 / len(q))
    constant = attention.amin() == attention.amax() or relevance.amin() == relevance.amax()
    correlation = torch.nan if constant else spearman_corrcoef(attention, relevance).item()
    overlap, uniform_overlap = (torch.minimum(row, q).sum().item() for row in (p, uniform))
    return PointedAt(correlation, overlap, uniform_overlap)


def _grad_cam(
    score: Score, x: Tensor, target: int, block: AttentionBlock, _grid: Grid
) -> Float[Tensor, "1 1 rows cols"]:
    attribution = LayerGradCam(score, block).attribute(
        x.requires_grad_(), target=target, relu_attributions=True
    )
    assert isinstance(attribution, Tensor)  # one layer, one output
    return attribution


def _integrated_gradients(
    score: Score, x: Tensor, target: int, _block: AttentionBlock, _grid: Grid
) -> Tensor:
    gradients: Tensor = IntegratedGradients(score).attribute(
        x, target=target, n_steps=INTEGRATION_STEPS, internal_batch_size=1
    )
    return gradients


def _saliency(score: Score, x: Tensor, target: int, _block: AttentionBlock, _grid: Grid) -> Tensor:
    gradient: Tensor = Saliency(score).attribute(x.requires_grad_(), target=target)
    return gradient


def _occlusion(score: Score, x: Tensor, target: int, _block: AttentionBlock, grid: Grid) -> Tensor:
    sides = [
        min(OCCLUDED_CELLS * round(pixels / cells), pixels)
        for pixels, cells in zip(x.shape[2:], (grid.height, grid.width), strict=True)
    ]
    changes: Tensor = Occlusion(score).attribute(
        x,
        target=target,
        sliding_window_shapes=(x.shape[1], *sides),
        strides=(x.shape[1], *sides),
    )
    return changes


METHODS: dict[str, Callable[[Score, Tensor, int, AttentionBlock, Grid], Tensor]] = {
    "grad_cam": _grad_cam,
    "integrated_gradients": _integrated_gradients,
    "saliency": _saliency,
    "occlusion": _occlusion,
}
"""Name of an attribution method -> what computes it, on the pixels or on the block's grid."""


def _output_pixel(grid: Grid, query: int, output_hw: tuple[int, ...]) -> tuple[int, int]:
    """Return the row and column of the output pixel at the middle of a query's cell."""
    x, y = grid.center(grid.cell(query))
    height, width = grid.image_hw
    return int(y / height * output_hw[0]), int(x / width * output_hw[1])


def _on_keys(
    relevance: Float[Tensor, "1 channels height width"], record: AttentionRecord
) -> Float[Tensor, " key_pos"]:
    """Return the mean size of relevance over the cell of every key."""
    grid, keys = record.query_grid, record.key_grid
    on_cells = F.adaptive_avg_pool2d(relevance.detach().abs().sum(dim=1), (grid.height, grid.width))
    window = grid.height // keys.height, grid.width // keys.width
    pooled = F.avg_pool2d(on_cells, window)[0, : keys.height, : keys.width]
    return pooled.flatten()
