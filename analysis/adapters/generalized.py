"""Generalized attention: up to four kinds of logits, summed, per head (mmcv, mmdetection).

Zhu et al., "An Empirical Study of Spatial Attention Mechanisms in Deep Networks", ICCV 2019 (arXiv
1904.05873). With R_ij for where key j lies as seen from query i, and learned vectors u and v:

| attention_type | logit                       |                               |
|----------------|-----------------------------|-------------------------------|
| 1000           | query_i . key_j             | query and key content         |
| 0100           | query_i . R_ij              | query content and position    |
| 0010           | u . key_j                   | key content alone: a saliency |
| 0001           | v . R_ij                    | position alone                |

R_ij is the sum of a vector for the rows and one for the columns between i and j. So a record holds
its logits as channels: see `analysis.adapters.bottleneck`. A saliency alone is a unary term alone.
"""

from math import sqrt
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.adapters.adapter import (
    TOLERANCE,
    Call,
    Heads,
    UnreadableBlockError,
    has,
    register,
    split_heads,
)
from analysis.adapters.bottleneck import one_hot_places

# it reads layers of the same names and is registered first: the last registered is asked first
from analysis.adapters.non_local import ROUNDING
from models.blocks import Reach

LONGEST_WAVE = 1000


@register(lambda module: has(module, "attention_type", "value_conv", "proj_conv", "kv_stride"))
def generalized_attention(module: nn.Module, call: Call) -> Heads:
    """Read mmcv's `GeneralizedAttention`, proved by its own output.

    Raises:
        UnreadableBlockError: Its keys lie closer than its queries, or it computes something else.
    """
    call.refuse_windows()
    block: Any = module  # its attributes have no types
    steps = block.q_stride, block.kv_stride
    if steps[0] > steps[1]:
        raise UnreadableBlockError(
            f"its queries are every {steps[0]} cells and its keys every {steps[1]}: the keys of a "
            "record lie no closer than its queries"
        )
    x = call.x[:1]
    at_queries, at_keys = (x[:, :, ::step, ::step] for step in steps)
    value = _by_head(block, block.value_conv(at_keys))
    for swapped in _slips(block, at_queries):
        heads = _heads(block, at_queries, at_keys, value[:, :, :0], swapped=swapped)
        attended = _attended(heads, value).mT.reshape(1, -1, *at_queries.shape[2:])
        added = block.gamma * F.interpolate(
            block.proj_conv(attended), x.shape[2:], mode="bilinear", align_corners=False
        )
        error = (call.own[:1] - x - added).norm()
        if error <= TOLERANCE * added.norm() + ROUNDING * x.norm():
            return heads
    raise UnreadableBlockError("what its attributes say does not lead to its own output")


def _slips(block: Any, at_queries: Float[Tensor, "1 channels rows columns"]) -> tuple[bool, ...]:
    """Return whether rows and columns of queries may be swapped for what rows of keys are asked.

    They are in mmcv's second kind without the fourth, which runs only where there are equally many.
    """
    _, position, _, position_alone = block.attention_type
    rows, columns = at_queries.shape[2:]
    return (True, False) if position and not position_alone and rows == columns else (False,)


def _heads(
    block: Any,
    at_queries: Float[Tensor, "1 channels *grid"],
    at_keys: Float[Tensor, "1 channels *key_grid"],
    no_key: Float[Tensor, "head key_pos 0"],
    *,
    swapped: bool,
) -> Heads:
    content, position, saliency, position_alone = block.attention_type
    shape, key_shape = tuple(at_queries.shape[2:]), tuple(at_keys.shape[2:])
    query = at_queries.new_zeros(block.num_heads, at_queries[0, 0].numel(), block.qk_embed_dim)
    if content or position:
        query = _by_head(block, block.query_conv(at_queries))

    def wanted(of_query: bool, bias: str | None) -> Float[Tensor, "head query_pos channels"]:
        """Return what the logits are products with: queries, or a bias that they share, or both."""
        shared = 0 if bias is None else getattr(block, bias).view(block.num_heads, 1, -1)
        vectors: Tensor = of_query * query + shared
        return vectors

    sides = [(query[:, :, :0], no_key)]
    unary = None
    if content or saliency:
        key = _by_head(block, block.key_conv(at_keys))
        vectors = wanted(content, "appr_bias" if saliency else None)
        if content or position or position_alone:
            sides.append((vectors, key))
        else:
            unary = torch.linalg.vecdot(vectors[:, :1], key)
    if position or position_alone:
        vectors = wanted(position, "geom_bias" if position_alone else None).unflatten(1, shape)
        place = one_hot_places(*key_shape).to(query).expand(block.num_heads, -1, -1)
        sides.append((_by_place(block, vectors, key_shape, swapped=swapped), place))
    queries, keys = (torch.cat(side, dim=2) for side in zip(*sides, strict=True))
    return Heads(
        queries,
        keys,
        scale=1.0,
        query_shape=shape,
        key_shape=key_shape,
        unary=unary,
        form="embedded_gaussian" if unary is None else "query_independent",
        coupling="coupled" if unary is None else "unary",
        reach=_window(block, shape, key_shape),
        keys_at=(block.kv_stride / block.q_stride, 0.0),
    )


def _by_head(
    block: Any, x: Float[Tensor, "1 channels *grid"]
) -> Float[Tensor, "head pos channels_of_head"]:
    return split_heads(x[0].flatten(1).T, block.num_heads)


def _by_place(
    block: Any,
    wanted: Float[Tensor, "head query_rows query_columns channels"],
    key_shape: tuple[int, ...],
    *,
    swapped: bool,
) -> Float[Tensor, "head query_pos key_rows_and_columns"]:
    """Return the logits of every query for the rows of keys, then for their columns."""
    down, across = (
        _relative(block, layer, queries, keys).to(wanted)
        for layer, queries, keys in zip(
            (block.appr_geom_fc_y, block.appr_geom_fc_x), wanted.shape[1:3], key_shape, strict=True
        )
    )
    columns = torch.einsum("nyxc,xknc->nyxk", wanted, across)
    wanted = wanted.transpose(1, 2) if swapped else wanted
    rows = torch.einsum("nyxc,yknc->nyxk", wanted, down)
    return torch.cat((rows, columns), dim=3).flatten(1, 2)


def _relative(
    block: Any, layer: nn.Linear, queries: int, keys: int
) -> Float[Tensor, "queries keys head channels"]:
    """Return a vector for the way from each row to each row of keys, or for columns."""
    like = layer.weight
    own, other = (
        torch.arange(count, device=like.device) * step
        for count, step in ((queries, block.q_stride), (keys, block.kv_stride))
    )
    apart = block.position_magnitude * (own[:, None] - other).to(like)
    width = block.position_embedding_dim
    exponents = 4 / width * torch.arange(0, width / 4, device=like.device).to(like)
    angles = apart[:, :, None] / LONGEST_WAVE**exponents
    vectors: Tensor = layer(torch.cat((angles.sin(), angles.cos()), dim=2)) / sqrt(2)
    by_head: Tensor = vectors.unflatten(2, (block.num_heads, -1))
    return by_head


def _window(block: Any, shape: tuple[int, ...], key_shape: tuple[int, ...]) -> Reach | None:
    """Return which keys lie near a query, as the table of a block with a spatial range has it.

    The labels of a query are the keys that it looks at, one in every column, and a key's is itself.
    """
    if block.spatial_range < 0:
        return None
    (rows, columns), (key_rows, key_columns) = shape, key_shape
    unseen = block.local_constraint_map[:rows, :columns, :key_rows, :key_columns]
    seen: Bool[Tensor, "query_pos key_pos"] = unseen.flatten(2).flatten(0, 1).cpu() == 0
    labels = int(seen.sum(dim=1).max())
    found, keys = seen.to(torch.int8).topk(labels, dim=1)
    query = torch.where(found > 0, keys, keys[:, :1])
    return Reach("window", query, torch.arange(seen.shape[1])[:, None].expand(-1, labels))


def _attended(
    heads: Heads, value: Float[Tensor, "head key_pos channels"]
) -> Float[Tensor, "head query_pos channels"]:
    """Return what all queries get, a head at a time: the block itself has them all at once."""
    unseen = None
    if heads.reach is not None:
        unseen = ~heads.reach.sees(torch.arange(heads.query.shape[1])).to(value.device)
    attended = []
    for head, (query, key) in enumerate(zip(heads.query, heads.key, strict=True)):
        logits = query @ key.T if heads.unary is None else heads.unary[head].expand(len(query), -1)
        if unseen is not None:
            logits = logits.masked_fill(unseen, -torch.inf)
        attended.append(logits.softmax(dim=1) @ value[head])
    return torch.stack(attended)
