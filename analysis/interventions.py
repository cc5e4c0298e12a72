"""Does the network need its attention? Change what its blocks do for a while and look."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from analysis import terms
from analysis.capture import attention_blocks, record_of
from analysis.streaming import query_chunks
from models.blocks import AttentionBlock, Projections

Intervention = Literal["on", "off", "mean_row", "uniform", "unary_only", "pairwise_only"]
INTERVENTIONS: tuple[Intervention, ...] = get_args(Intervention)

Aggregated = Float[Tensor, "batch query_pos value_channels"]


@contextmanager
def intervene(network: nn.Module, how: Intervention) -> Iterator[None]:
    """Change the attention of every block of a network until the `with` ends.

    | how           | what a block does instead                                                |
    |---------------|--------------------------------------------------------------------------|
    | on            | nothing: the network is left alone                                       |
    | off           | passes its input through: no attention, no output layer                  |
    | mean_row      | every query attends like the mean over all queries                       |
    | uniform       | every query attends to all keys alike, as much in total as it did before |
    | unary_only    | the unary term's own attention: what every query looks at                |
    | pairwise_only | the pairwise term's own attention: what depends on the query             |

    Terms are those of `analysis.terms.attention`: rows of a disentangled block sum to 2, each of
    its terms to 1; a learned gain on the pairwise term stays. Values and output layers are the
    block's own, and no query x key matrix is kept. Per block and image `off` costs nothing,
    `mean_row` and `uniform` one run of the block's own attention, the two terms a pass over chunks
    of rows (which carries no gradient). Blocks that look at part of a clip do not stay in it
    with `mean_row` and `uniform`, which are of all its positions.

    Blocks keep their weights, hooks and modes, and are as they were afterwards, also after an
    exception.

    Args:
        network: Any module with attention blocks; without any, nothing changes.
        how: One of `INTERVENTIONS`.

    Raises:
        ValueError: `how` is unknown.
    """
    if how not in INTERVENTIONS:
        raise ValueError(f"unknown intervention {how!r}; available: {', '.join(INTERVENTIONS)}")
    with ExitStack() as changes:
        for block in attention_blocks(network).values() if how != "on" else ():
            changes.enter_context(_running(block, partial(FORWARDS[how], block)))
        yield


def _pass_through(_block: AttentionBlock, x: Tensor) -> Tensor:
    return x


def _aggregating(
    aggregate: Callable[[AttentionBlock, Projections], Aggregated], block: AttentionBlock, x: Tensor
) -> Tensor:
    """Run a block as its base class describes it, with another aggregation."""
    projections = block.project(x)
    return x + block.restore(aggregate(block, projections), projections.query_shape)


def _mean_row(block: AttentionBlock, projections: Projections) -> Aggregated:
    # aggregation is linear in the rows: the mean row's values are the mean of all rows' values
    aggregated = block.aggregate(projections)
    return aggregated.mean(dim=1, keepdim=True).expand_as(aggregated)


def _uniform(block: AttentionBlock, projections: Projections) -> Aggregated:
    value = projections.value
    row_sum = block.aggregate(projections._replace(value=torch.ones_like(value[..., :1])))
    return row_sum * value.mean(dim=1, keepdim=True)


def _term_only(term: terms.Term, block: AttentionBlock, projections: Projections) -> Aggregated:
    images = [_image(projections, index) for index in range(len(projections.value))]
    return torch.stack([_attend_by_term(term, block, image) for image in images])


def _attend_by_term(
    term: terms.Term, block: AttentionBlock, projections: Projections
) -> Float[Tensor, "query_pos value_channels"]:
    record = record_of("", block, projections, image_hw=(1, 1))  # no pixel has a part in this
    value = projections.value[0].to(record.key)
    if term == "unary" and record.reach is None:  # all rows are the same
        row = terms.attention(record, [0], term) @ value
        return row.expand(len(record.query), -1).to(projections.value)
    if term == "pairwise":
        value = record.pairwise_gain * value
    chunks = [terms.attention(record, chunk, term) @ value for chunk in query_chunks(record)]
    return torch.cat(chunks).to(projections.value)


FORWARDS: dict[Intervention, Callable[[AttentionBlock, Tensor], Tensor]] = {
    "off": _pass_through,
    "mean_row": partial(_aggregating, _mean_row),
    "uniform": partial(_aggregating, _uniform),
    "unary_only": partial(_aggregating, partial(_term_only, "unary")),
    "pairwise_only": partial(_aggregating, partial(_term_only, "pairwise")),
}
"""Intervention -> what a block runs instead of its own `forward`."""


def _image(projections: Projections, index: int) -> Projections:
    """Return one image's projections, as a batch of one."""
    return Projections._make(
        field[index : index + 1] if isinstance(field, Tensor) else field for field in projections
    )


@contextmanager
def _running(block: AttentionBlock, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Let one block run another `forward`; that of an outer intervention comes back afterwards."""
    own = vars(block)
    outer = own.get("forward")
    own["forward"] = forward
    try:
        yield
    finally:
        if outer is None:
            del own["forward"]
        else:
            own["forward"] = outer
