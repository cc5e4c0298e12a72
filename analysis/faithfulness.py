"""Does a row of attention say what the output depends on? Cells are taken away, and given back.

What explains an output well puts first what the output hangs on: taking these cells away first
makes the probability of the class fall fast, giving them back first makes it rise fast (Petsiuk
et al. 2018, RISE, section 3.3). And what explains a network should not look the same when its
weights are random (Adebayo et al. 2018).
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.attribution import agreement, attributions_of
from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.capture import evaluating
from nonlocal_lens.analysis.class_score import ClassScore, class_score
from nonlocal_lens.analysis.images import ImageSource
from nonlocal_lens.models.wrappers import unwrapped

if TYPE_CHECKING:
    import pandas as pd

RANDOM = "random"


def faithfulness(
    network: nn.Module,
    image: ImageSource,
    query: int,
    *,
    block: str | None = None,
    head: int | None = None,
    target: int | None = None,
    methods: tuple[str, ...] = ("saliency",),
    steps: int = 8,
    draws: int = 4,
    seed: int = 0,
) -> "pd.DataFrame":
    """Return how well orders of the picture's cells explain a class score.

    The orders are those of the whole row of attention, of its pairwise and its unary term, of
    attributions, and by lot. Cells are grayed out, the input's mean color, those with the highest
    values first (deletion); and the other way round, in a gray picture they are shown (insertion).

    Args:
        network: As for `analysis.attribution.attributions`.
        image: As there.
        query: As there.
        block: As there.
        head: As there.
        target: The class; the most likely one if not given.
        methods: Attributions that are tried, too.
        steps: In how many steps cells are taken away; each costs two runs of the network.
        draws: How many orders by lot the last row is the mean of.
        seed: Of the lot, which ties are broken by, too.

    Returns:
        A row for each order, named by it: `deletion_auc` and `insertion_auc`, the mean probability
        of the class on the way, 0 to 1 (the area under the curve, by trapezoids over the share of
        cells), and `explains`, insertion less deletion, -1 to 1: the higher, the better.

    Raises:
        ValueError: As for `attributions`; or there are no steps or no draws.
    """
    import pandas as pd  # late: it takes longer than what it is for

    if steps < 1 or draws < 1:
        raise ValueError(f"steps and draws must be at least 1, got {steps} and {draws}")
    network = unwrapped(network)
    asked = class_score(network, image, query, block=block, head=head, target=target)
    values = _maps(network, asked, query, methods)
    generator = torch.Generator().manual_seed(seed)
    cells = cell_of_pixels(asked.record.key_axis, (asked.x.shape[2], asked.x.shape[3]))
    count = asked.record.key_axis.placed
    rows = {}
    with evaluating(network), torch.no_grad():
        for name, value in values.items():
            ties = torch.rand(count, generator=generator).numpy()
            order = np.lexsort((ties, -value.double().cpu().numpy()))
            rows[name] = _areas(asked, cells, order, steps)
        lots = [torch.randperm(count, generator=generator).numpy() for _ in range(draws)]
        by_lot = [_areas(asked, cells, order, steps) for order in lots]
    rows[RANDOM] = tuple(np.mean(by_lot, axis=0))
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["deletion_auc", "insertion_auc"])
    table["explains"] = table["insertion_auc"] - table["deletion_auc"]
    return table


def randomized(
    network: nn.Module,
    image: ImageSource,
    query: int,
    *,
    block: str | None = None,
    head: int | None = None,
    target: int | None = None,
    methods: tuple[str, ...] = ("saliency",),
    draws: int = 3,
    seed: int = 0,
) -> "pd.DataFrame":
    """Return how alike maps stay when a network's weights are shuffled.

    The numbers of every parameter are drawn anew by lot among themselves, so that their
    distributions stay. A map that stays as it is says nothing of what the network has learned.

    Args:
        network: As for `analysis.attribution.attributions`; it stays as it is.
        image: As there.
        query: As there.
        block: As there.
        head: As there.
        target: The class; the one that is most likely before if not given.
        methods: Attributions that are looked at, too.
        draws: How many times weights are shuffled.
        seed: Of the lot.

    Returns:
        A row for each map, named by it: `rank_correlation` (Spearman, -1 to 1; NaN where a map is
        the same everywhere) and `overlap` (mass on the same cells, 0 to 1) with the map of the
        network as it is, means over the draws.

    Raises:
        ValueError: As for `attributions`; or there are no draws.
    """
    import pandas as pd  # late: it takes longer than what it is for

    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    network = unwrapped(network)
    asked = class_score(network, image, query, block=block, head=head, target=target)

    block, head, target = asked.record.block, asked.record.head, asked.target
    own = _maps(network, asked, query, methods)
    compared = []
    for shuffled in _shuffled(network, draws, seed):
        again = class_score(shuffled, image, query, block=block, head=head, target=target)
        maps = _maps(shuffled, again, query, methods)
        compared.append({name: agreement(value, own[name]) for name, value in maps.items()})
    return pd.DataFrame.from_dict(
        {
            name: [
                np.mean([one[name].rank_correlation for one in compared]),
                np.mean([one[name].overlap for one in compared]),
            ]
            for name in own
        },
        orient="index",
        columns=["rank_correlation", "overlap"],
    )


def cell_of_pixels(axis: Axis, pixels: tuple[int, int]) -> Int[np.ndarray, "height width"]:
    """Return which of an axis' places each pixel lies on, by its middle; -1 where it lies on none.

    Args:
        axis: Of places of one frame.
        pixels: Height and width of the image in any resolution.
    """
    grid = axis.grid
    assert grid is not None
    sides = zip(grid.image_hw, pixels, strict=True)
    y, x = ((np.arange(count) + 0.5) * (size / count) for size, count in sides)
    rows, columns = grid.rows_at(y)[:, None], grid.columns_at(x)[None]
    inside = (rows >= 0) & (rows < grid.height) & (columns >= 0) & (columns < grid.width)
    placed = np.full(grid.positions + 1, -1)
    placed[axis.all_cells] = np.arange(axis.placed)
    return placed[np.where(inside, rows * grid.width + columns, grid.positions)]


def _maps(
    network: nn.Module, asked: ClassScore, query: int, methods: tuple[str, ...]
) -> dict[str, Tensor]:
    """Return a query's row by term, and attributions by method, of the keys that are places."""
    record = asked.record
    placed = record.key_axis.placed
    rows: dict[str, Tensor] = {
        term: terms.attention(record, [query], term)[0, :placed].abs() for term in terms.TERMS
    }
    found = attributions_of(network, asked, methods)
    return {**rows, **{one.method: one.relevance for one in found}}


def _areas(
    asked: ClassScore,
    cells: Int[np.ndarray, "height width"],
    order: Int[np.ndarray, " cells"],
    steps: int,
) -> tuple[float, float]:
    """Return the areas under the curves of deletion and of insertion."""
    rank = np.empty(len(order) + 1, dtype=int)
    rank[order], rank[-1] = np.arange(len(order)), len(order)  # pixels of no cell come last
    ranks = torch.from_numpy(rank[cells]).to(asked.x.device)
    deleted, inserted = [], []
    for step in range(steps + 1):
        first = ranks < round(len(order) * step / steps)
        deleted.append(_probability(asked, ~first))
        inserted.append(_probability(asked, first))
    return float(np.trapezoid(deleted) / steps), float(np.trapezoid(inserted) / steps)


def _probability(asked: ClassScore, shown: Bool[Tensor, "height width"]) -> float:
    """Return the probability of the class where the rest of the input is gray."""
    scores: Float[Tensor, "1 classes"] = asked.score(asked.x * shown)
    return scores.softmax(dim=1)[0, asked.target].item()


def _shuffled(network: nn.Module, draws: int, seed: int) -> Iterator[nn.Module]:
    """Yield copies of a network whose weights are drawn by lot among themselves."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(draws):
        copied = deepcopy(network)
        with torch.no_grad():
            for parameter in copied.parameters():
                order = torch.randperm(parameter.numel(), generator=generator)
                parameter.copy_(parameter.flatten()[order.to(parameter.device)].view_as(parameter))
        yield copied
