"""Blocks of this package as records: they say what they project, and the run proves it."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.own_values import on_their_way_out
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.tracing.layout import Sides
from nonlocal_lens.analysis.tracing.proof import Proof, UnprovedError
from nonlocal_lens.models.blocks import AttentionBlock, Projections, Reach
from nonlocal_lens.models.networks.transformer import SelfAttention

PROBES = 32
TOLERANCE = 1e-4

KNOWN = ("torch.nn.modules.", "torch.nn.utils.parametriz", "nonlocal_lens.models.")
"""Beginnings of the names of Python modules: of layers whose attention is known."""

ATTENDING = (nn.MultiheadAttention, nn.Transformer, SelfAttention)
"""Of torch's own modules and this package's, those that attend and do not say what they project;
layers of transformers hold these."""


def only_own_blocks_attend(network: nn.Module) -> bool:
    """Return whether all that attends in a network is known before it runs: this package's blocks.

    So it is where every module is a layer of torch's own or of this package, be its weights
    parametrized or not.
    """
    return all(
        type_before_parametrizations(module).__module__.startswith(KNOWN)
        and not isinstance(module, ATTENDING)
        for module in network.modules()
    )


def record_of(
    name: str,
    block: AttentionBlock,
    projections: Projections,
    image_hw: tuple[int, int],
    sides: Sides | None = None,
    *,
    picture: int = 0,
    call: int = 0,
    keeps_value: bool = True,
) -> AttentionRecord:
    """Return the record of what a block made of one picture of its input.

    Args:
        name: What the block is called.
        block: The block.
        projections: What it projected.
        image_hw: Height and width of the image.
        sides: Where queries and keys lie; their cells tile the image where nobody knows.
        picture: Which item of the batch.
        call: How often the block had run before.
        keeps_value: Whether the record holds values, too: nothing but the kind of a sink, and what
            attention adds, is read from them.
    """
    query, key, unary = projections.query[picture], projections.key[picture], None
    value = on_their_way_out(block, _kept(projections.value[picture])) if keeps_value else None
    if projections.unary is not None:
        unary = projections.unary[picture]
    reach = projections.reach
    if sides is None:
        query_axis, key_axis = _tiling(projections, image_hw)
    else:
        query_axis, key_axis = sides.query.axis, sides.key.axis
        of_query, of_key = (torch.from_numpy(side.order) for side in sides)
        query, key = query[of_query.to(query.device)], key[of_key.to(key.device)]
        unary = None if unary is None else unary[of_key.to(unary.device)]
        value = None if value is None else value[of_key]
        if reach is not None:
            reach = Reach(reach.kind, reach.query[of_query], reach.key[of_key])
    return AttentionRecord(
        block=name,
        form=block.form,
        coupling=block.coupling,
        scale=block.scale,
        query=_kept(query),
        key=_kept(key),
        unary=None if unary is None else _kept(unary),
        query_grid=query_axis.grid,  # type: ignore[arg-type]  # a record without one is made, too
        key_grid=key_axis.grid,  # type: ignore[arg-type]
        query_axis=query_axis,
        key_axis=key_axis,
        pairwise_gain=block.pairwise_gain,
        whitened=block.whitened,
        reach=reach,
        call=call,
        value=value,
    )


def proved_by(record: AttentionRecord, traced: AttentionRecord) -> AttentionRecord:
    """Return a record with the proof of the one that was traced where the block ran.

    Raises:
        UnprovedError: They do not lead to the same weights.
    """
    assert traced.proof is not None  # all that is traced is proved
    same_queries = record.coupling == "unary" or record.query_axis == traced.query_axis
    if not same_queries or record.key_axis != traced.key_axis:
        raise UnprovedError("it attends from and to other places than it projects")
    count = min(len(record.query), len(traced.query))  # of a unary row they may differ
    probes = torch.linspace(0, count - 1, min(PROBES, count)).long()
    own, rows = (terms.attention(one, probes).double() for one in (traced, record))
    apart = ((rows - own).abs() / own.abs().amax(dim=1, keepdim=True).clamp_min(1e-30)).max()
    error = max(float(apart), traced.proof.error)
    if not error <= max(traced.proof.tolerance, TOLERANCE):
        raise UnprovedError(
            f"the weights that lead from its projections are {error:.1e} from those that it "
            "computed, relative"
        )
    return replace(record, proof=replace(traced.proof, error=error))


def sees_one_key(record: AttentionRecord) -> bool:
    """Return whether every query looks at a single key, so that its weight can only be 1."""
    if record.reach is None:
        return len(record.key) == 1
    parts = record.parts
    return parts is not None and parts.number == len(record.key) == len(record.query)


def proved_by_output(
    record: AttentionRecord, block: AttentionBlock, projections: Projections, picture: int
) -> AttentionRecord:
    """Return a record with the proof that it leads to what the block aggregates for some queries.

    For blocks of which no weights are to be seen, as they are never computed.

    Raises:
        UnprovedError: It leads elsewhere.
    """
    count = projections.query.shape[1]
    probes = torch.linspace(0, count - 1, min(PROBES, count)).long()
    alone = Projections._make(
        field[picture : picture + 1] if isinstance(field, Tensor) else field
        for field in projections
    )
    some = alone._replace(query=alone.query[:, probes.to(alone.query.device)])
    own = _kept(block.aggregate(some)[0])
    # no pixel has a part in this
    plain = record_of("", block, alone, (1, 1), keeps_value=False)
    rows = terms.attention(plain, probes) @ _kept(alone.value[0])
    error = float((rows - own).abs().max() / own.abs().max().clamp_min(1e-30))
    if not error <= TOLERANCE:
        raise UnprovedError(
            f"what its queries and keys lead to is {error:.1e} from what it computed, relative"
        )
    how = "what the block aggregates for them"
    return replace(record, proof=Proof(how, len(probes), error, TOLERANCE))


def _tiling(projections: Projections, image_hw: tuple[int, int]) -> tuple[Axis, Axis]:
    frames, height, width = _thw(projections.query_shape)
    query_grid = Grid.tiling(image_hw, height, width, frames=frames)
    frames, height, width = _thw(projections.key_shape)
    key_grid = replace(query_grid.subsampled(height, width), frames=frames)
    return Axis(query_grid), Axis(key_grid)


def _thw(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (1,) * (3 - len(shape)) + tuple(shape)


def _kept(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return a copy in single precision or, where the network has it, double."""
    return x.detach().to("cpu", torch.promote_types(x.dtype, torch.float32), copy=True)
