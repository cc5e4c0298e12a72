"""Blocks that a registered reader speaks for, as records whose tokens are placed as all others."""

import torch
from torch import Tensor

from nonlocal_lens.analysis.adapters import Heads
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.tracing.layout import Layout
from nonlocal_lens.models.blocks import Reach


def records_of(name: str, heads: Heads, layout: Layout) -> list[AttentionRecord]:
    """Return a record for every head that a reader found in a block.

    Raises:
        UnplacedError: Where queries or keys lie is unknown.
    """
    provenance = layout.provenance
    query_from, key_from = (
        None if (ids := provenance.tokens(side, channels=2)) is None else ids[0]
        for side in (heads.query, heads.key)
    )
    query, key = layout.sides(query_from, key_from)
    of_query, of_key = torch.from_numpy(query.order), torch.from_numpy(key.order)
    reach = heads.reach
    if reach is not None:
        reach = Reach(reach.kind, reach.query[of_query], reach.key[of_key])
    return [
        AttentionRecord(
            block=name,
            form=heads.form,
            coupling=heads.coupling,
            scale=heads.scale,
            query=_kept(heads.query[head])[of_query],
            key=_kept(heads.key[head])[of_key],
            unary=None if heads.unary is None else _kept(heads.unary[head])[of_key],
            query_grid=query.axis.grid,  # type: ignore[arg-type]  # None is possible
            key_grid=key.axis.grid,  # type: ignore[arg-type]
            query_axis=query.axis,
            key_axis=key.axis,
            head=head if len(heads.query) > 1 else None,
            pairwise_gain=heads.pairwise_gain,
            whitened=heads.whitened,
            reach=reach,
        )
        for head in range(len(heads.query))
    ]


def _kept(x: Tensor) -> Tensor:
    return x.detach().to("cpu", torch.promote_types(x.dtype, torch.float32), copy=True)
