"""Does the network need its attention? Change what its blocks do for a while and look."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.own_blocks import only_own_blocks_attend, record_of
from nonlocal_lens.analysis.streaming import query_chunks
from nonlocal_lens.analysis.tracing.interventions import changing
from nonlocal_lens.models.blocks import AttentionBlock, Projections, Reach, attention_blocks
from nonlocal_lens.models.wrappers import unwrapped

Intervention = Literal[
    "on",
    "off",
    "mean_row",
    "uniform",
    "another_image",
    "noise",
    "unary_only",
    "pairwise_only",
]
INTERVENTIONS: tuple[Intervention, ...] = get_args(Intervention)

CONTROLS: tuple[Intervention, ...] = ("mean_row", "uniform", "another_image", "noise")
"""What stands beside `off`: attention that says nothing of this query, or of this image, and yet
gives the layers behind it an output as they know it. What `off` costs beyond these is the shock of
an output that they have never seen, not what attention was worth."""

Where = Collection[tuple[str, int | None]]
"""Blocks and heads, by name and number; the head None stands for all of a block."""

Aggregated = Float[Tensor, "batch query_pos value_channels"]


@contextmanager
def intervene(
    network: nn.Module,
    how: Intervention,
    *,
    where: Where | None = None,
    another: Callable[[], Any] | None = None,
) -> Iterator[None]:
    """Change the attention of every block of a network until the `with` ends.

    All other attention is changed where its weights meet the values, see `analysis.tracing`; the
    network then runs once more each time, first, to see what attends.

    | how           | what a block does instead                                                |
    |---------------|--------------------------------------------------------------------------|
    | on            | nothing: the network is left alone                                       |
    | off           | passes its input through: no attention, no output layer                  |
    | mean_row      | every query attends like the mean over all queries                       |
    | uniform       | every query attends to all keys alike, as much in total as it did before |
    | another_image | attends by what it made of another image, to the values of this one      |
    | noise         | every row keeps its weights, on keys that are drawn by lot               |
    | unary_only    | the unary term's own attention: what every query looks at                |
    | pairwise_only | the pairwise term's own attention: what depends on the query             |

    Terms are those of `analysis.terms.attention`: rows of a disentangled block sum to 2, each of
    its terms to 1; a learned gain on the pairwise term stays. So `unary_only` and `pairwise_only`
    halve the total weight of such a block, and what they change is partly that the block adds less:
    hold them against each other, or against `uniform`, which keeps the total. Values and output
    layers are the block's own, and no query x key matrix is kept. Per block and image `off` costs
    nothing, `mean_row`, `uniform` and `another_image` one run of the block's own attention, `noise`
    and the two terms a pass over chunks of rows (which carries no gradient). Blocks that look at
    part of a clip do not stay in it with `mean_row` and `uniform`, which are of all its positions.
    Where a network has tokens that lie nowhere, such as a class token, means are over the queries
    that are places, as in a record. `off` takes away what is added to that which came past the
    block, with its output layer; where nothing came past, weights are 0. It never stands alone: see
    `CONTROLS`.

    Blocks keep their weights, hooks and modes, and are as they were afterwards, also after an
    exception.

    Args:
        network: Any module with attention blocks, also inside a wrapper of `models.wrappers`;
            without any, nothing changes.
        how: One of `INTERVENTIONS`.
        where: Which blocks are changed; all if None.
        another: For `another_image`: runs the network, or the part of it with its blocks, on
            another image of the same size.

    Raises:
        ValueError: `how` or a block is unknown, or there is no other image; or, while the network
            runs, a block cannot be changed; or the network ran, but none of its blocks did so where
            it could be seen.
    """
    if how not in INTERVENTIONS:
        raise ValueError(f"unknown intervention {how!r}; available: {', '.join(INTERVENTIONS)}")
    if how == "on":
        yield
        return
    network = unwrapped(network)
    own = _chosen(where, attention_blocks(network))
    ran: set[str] = set()
    changed: Collection[int] = ()
    elsewhere: Elsewhere = {}
    if how == "another_image":
        if another is None:
            raise ValueError("another image must be given to attend as the network does in it")
        elsewhere = _attended(own, another)
    with ExitStack() as changes:
        for name, block in own.items():
            forward = FORWARDS.get(how) or partial(_aggregating, _Another(elsewhere[name]))
            noted = partial(_noted, ran, name, partial(forward, block))
            changes.enter_context(_running(block, noted))
        if where is None and not only_own_blocks_attend(network):
            changed = changes.enter_context(changing(network, how, besides=_names_within(own)))
        noting = network.register_forward_hook(lambda *_: ran.add(NETWORK))
        changes.callback(noting.remove)
        yield
    if own and ran == {NETWORK} and not changed:
        raise ValueError(
            f"{type(network).__name__} ran, and none of its attention blocks did so where that can "
            "be seen and changed"
        )


NETWORK = "the network"
"""What is noted when the network has run; no module's name has a space."""


def _chosen(
    where: Where | None, blocks: Mapping[str, AttentionBlock]
) -> Mapping[str, AttentionBlock]:
    """Return the blocks that are to be changed; ValueError if one is not there."""
    if where is None:
        return blocks
    for block, head in where:
        if block not in blocks:
            raise ValueError(f"unknown block {block!r}; available: {', '.join(sorted(blocks))}")
        if head not in (None, 0):
            raise ValueError(f"heads are changed together by this: all of block {block!r}")
    return {name: blocks[name] for name, _ in where}


def _noted(ran: set[str], name: str, forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    ran.add(name)
    return forward(x)


def _names_within(blocks: Mapping[str, nn.Module]) -> set[str]:
    """Return the names of some blocks and of all modules in them."""
    return {
        ".".join(part for part in (name, inner) if part)
        for name, block in blocks.items()
        for inner, _ in block.named_modules()
    }


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


def _noise(block: AttentionBlock, projections: Projections) -> Aggregated:
    images = [_image(projections, index) for index in range(len(projections.value))]
    return torch.stack([_attend_by_lot(block, image) for image in images])


def _attend_by_lot(
    block: AttentionBlock, projections: Projections
) -> Float[Tensor, "query_pos value_channels"]:
    # no pixel has a part in this
    record = record_of("", block, projections, image_hw=(1, 1), keeps_value=False)
    value = projections.value[0].to(record.key)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(value), generator=generator)
    chunks = []
    for chunk in query_chunks(record):
        rows = terms.attention(record, chunk)
        chunks.append(_by_lot(rows, record.reach, chunk, order, generator) @ value)
    return torch.cat(chunks).to(projections.value)


def _by_lot(
    rows: Float[Tensor, "queries key_pos"],
    reach: Reach | None,
    chunk: Int[Tensor, " queries"],
    order: Int[Tensor, " key_pos"],
    generator: torch.Generator,
) -> Float[Tensor, "queries key_pos"]:
    """Return rows with the same weights on other keys, drawn by lot among those that they see.

    Where that is all of them, keys are shuffled once for all rows, and every row is turned round by
    a number of its own: to sort them anew for every row takes far longer.
    """
    keys = rows.shape[1]
    if reach is None:
        turns = torch.randint(keys, (len(rows), 1), generator=generator)
        return rows.gather(1, order[(torch.arange(keys) + turns) % keys])
    seen = reach.sees(chunk)
    lots = torch.rand(rows.shape, generator=generator)
    by_lot = (lots - 2 * seen.to(lots)).argsort(dim=1)  # those that are seen come first
    in_order = (-2 * seen.to(torch.int8)).argsort(dim=1, stable=True)
    return torch.zeros_like(rows).scatter(1, by_lot, rows.gather(1, in_order))


Elsewhere = dict[str, list[Projections]]
"""Block -> what it made of another image, each time that it ran."""


def _attended(blocks: Mapping[str, AttentionBlock], another: Callable[[], Any]) -> Elsewhere:
    """Return what blocks project while another image is looked at."""
    elsewhere: Elsewhere = {name: [] for name in blocks}

    def note(name: str, block: AttentionBlock, x: Tensor) -> Tensor:
        elsewhere[name].append(block.project(x))
        return type(block).forward(block, x)

    with ExitStack() as notes, torch.no_grad():
        for name, block in blocks.items():
            notes.enter_context(_running(block, partial(note, name, block)))
        another()
    return elsewhere


class _Another:
    """Aggregates by the queries and keys of another image, each time those of the same run."""

    def __init__(self, elsewhere: list[Projections]) -> None:
        self._elsewhere, self._run = elsewhere, 0

    def __call__(self, block: AttentionBlock, projections: Projections) -> Aggregated:
        if not self._elsewhere:
            raise ValueError("the block did not run on the other image")
        other = self._elsewhere[self._run % len(self._elsewhere)]
        self._run += 1
        if (other.query_shape, other.key_shape) != (projections.query_shape, projections.key_shape):
            raise ValueError(
                f"another image must have as many places as this one: {other.query_shape} against "
                f"{projections.query_shape}"
            )
        images = len(projections.value)
        query, key = (side.expand(images, -1, -1) for side in (other.query, other.key))
        unary = None if other.unary is None else other.unary.expand(images, -1)
        return block.aggregate(projections._replace(query=query, key=key, unary=unary))


def _term_only(term: terms.Term, block: AttentionBlock, projections: Projections) -> Aggregated:
    images = [_image(projections, index) for index in range(len(projections.value))]
    return torch.stack([_attend_by_term(term, block, image) for image in images])


def _attend_by_term(
    term: terms.Term, block: AttentionBlock, projections: Projections
) -> Float[Tensor, "query_pos value_channels"]:
    # no pixel has a part in this
    record = record_of("", block, projections, image_hw=(1, 1), keeps_value=False)
    value = projections.value[0].to(record.key)
    if term == "unary" and record.reach is None:  # all rows are the same
        row = terms.attention(record, [0], term) @ value
        return row.expand(len(record.query), -1).to(projections.value)
    if term == "pairwise":
        value = record.pairwise_gain * value
    chunks = [
        terms.attention(record, chunk, term) @ value
        for chunk in query_chunks(record, torch.arange(len(record.query)))
    ]
    return torch.cat(chunks).to(projections.value)


FORWARDS: dict[Intervention, Callable[[AttentionBlock, Tensor], Tensor]] = {
    "off": _pass_through,
    "mean_row": partial(_aggregating, _mean_row),
    "uniform": partial(_aggregating, _uniform),
    "noise": partial(_aggregating, _noise),
    "unary_only": partial(_aggregating, partial(_term_only, "unary")),
    "pairwise_only": partial(_aggregating, partial(_term_only, "pairwise")),
}
"""Intervention -> what a block runs instead of its own `forward`, if that needs no other image."""


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
