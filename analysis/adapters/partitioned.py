"""Self-attention inside parts of a map, with biases for relative positions: a record of the whole.

Positions of different parts do not look at each other (`Heads.reach`). Biases are held as channels:
each query brings its bias for every place in its part, and each key has a 1 for its own place.
Cosine attention's temperatures, one for every head, are in the queries.

Where parts do not divide the map, it is padded, and what pads it takes part in the softmax. Such
keys are nowhere on the image: a record is of the others, and softmax over them is the module's
attention, divided by what of it falls on the map.
"""

from collections.abc import Callable
from dataclasses import replace
from math import isqrt
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.adapters.adapter import Heads, UnreadableBlockError, has, proved_by, split_heads
from analysis.adapters.transformers import HEADS, TRIPLES
from models.blocks import Reach

PACKED = ("qkv", "to_qkv")
SCALES = ("scaling", "scale", "scale_factor")
COUNTS = (*HEADS, "n_heads")
POSITION_NETWORKS = ("cpb_mlp", "continuous_position_bias_mlp")

GREATEST_LOGIT_SCALE = 100.0  # of cosine attention
GREATEST_BIAS = 16.0  # of cosine attention


class Layout(NamedTuple):
    """How parts lie on a map, padded where they do not divide it."""

    size: tuple[int, ...]  # of the map without padding: rows and columns, or frames and these
    place: Int[Tensor, " padded_pos"]  # inside the part; biases are for two of these
    part: Int[Tensor, " padded_pos"]  # positions of one look at each other
    real: Bool[Tensor, " padded_pos"]  # whether a position is on the map
    kind: str = "window"


def attends_with_biases(attention: nn.Module) -> bool:
    """Return whether a module has what `read_parts` reads."""
    projections = *((name,) for name in PACKED), *TRIPLES
    biased = has(_biased(attention), "relative_position_index") or _has_position_layer(attention)
    return (
        biased
        and any(has(attention, *layers) for layers in projections)
        and any(has(attention, name) for name in COUNTS)
    )


def is_cosine(attention: nn.Module) -> bool:
    """Return whether logits are of the angles between queries and keys, as in Swin v2."""
    return has(attention, "logit_scale")


def read_parts(
    attention: nn.Module,
    x: Float[Tensor, "pos width"],
    layout: Layout,
    finish: Callable[[Tensor, Tensor], Tensor],
    own: Float[Tensor, "pos out_width"],
) -> Heads:
    """Return the heads of attention inside parts of a map, proved by the output around it.

    Args:
        attention: What is given the parts.
        x: The positions of the map, as they are when it is given them.
        layout: Where the parts lie.
        finish: See `adapter.proved_by`.
        own: See `adapter.proved_by`.

    Raises:
        UnreadableBlockError: What was read does not lead to the output.
    """
    size, place, part, real, kind = layout
    padded = x.new_zeros(len(real), x.shape[1])
    padded[real] = x
    query, key, value = _projected(attention, padded)
    scale = _scale(attention, query.shape[2])
    if is_cosine(attention):
        query, key = F.normalize(query, dim=2), F.normalize(key, dim=2)
        query = query * attention.get_parameter("logit_scale").exp().clamp_max(GREATEST_LOGIT_SCALE)
    bias = _biases(attention, len(query), int(place.max()) + 1)
    own_place = F.one_hot(place, bias.shape[2]).to(key).expand(len(key), -1, -1)
    labels, on_map = part[:, None], part[real][:, None]
    read = Heads(
        query=torch.cat((query, bias[:, place] / scale), dim=2)[:, real],
        key=torch.cat((key, own_place), dim=2),
        scale=scale,
        query_shape=size,
        key_shape=size,
        reach=Reach(kind, on_map, labels),
    )
    proved_by(read, value, finish, own)
    reach = Reach(kind, on_map, on_map) if len(on_map.unique()) > 1 else None
    return replace(read, key=read.key[:, real], reach=reach)


def _projected(
    attention: nn.Module, x: Float[Tensor, "pos width"]
) -> tuple[Float[Tensor, "head pos channels"], ...]:
    """Return queries, keys and values of every head; in cosine attention keys have no bias."""
    heads = int(getattr(attention, next(name for name in COUNTS if has(attention, name))))
    packed = next((name for name in PACKED if has(attention, name)), None)
    if packed is not None and getattr(attention, "head_first", False):
        by_head = split_heads(attention.get_submodule(packed)(x), heads)
        return tuple(by_head.chunk(3, dim=2))
    if packed is None:
        names = next(names for names in TRIPLES if has(attention, *names))
        query, key, value = (attention.get_submodule(name)(x) for name in names)
    else:
        layer = attention.get_submodule(packed)
        query, key, value = layer(x).chunk(3, dim=1)
        if has(attention, "q_bias", "v_bias"):
            query = query + attention.get_parameter("q_bias")
            value = value + attention.get_parameter("v_bias")
        elif is_cosine(attention) and has(layer, "bias"):
            key = key - layer.get_parameter("bias").chunk(3)[1]
    return tuple(split_heads(side, heads) for side in (query, key, value))


def _scale(attention: nn.Module, channels: int) -> float:
    if is_cosine(attention):
        return 1.0
    given = next((name for name in SCALES if has(attention, name)), None)
    return channels**-0.5 if given is None else float(getattr(attention, given))


def _biased(attention: nn.Module) -> Any:
    """Return what holds the biases for relative positions: a module's attributes have no type."""
    biased = getattr(attention, "relative_position_bias", None)
    return biased if isinstance(biased, nn.Module) else attention


def _has_position_layer(attention: nn.Module) -> bool:
    """Return whether biases are of a layer of timm's that gives those of all pairs of places."""
    return hasattr(getattr(attention, "rel_pos", None), "get_bias")


def _biases(
    attention: nn.Module, heads: int, places: int
) -> Float[Tensor, "head query_place key_place"]:
    """Return the bias of every head for every two places in a part.

    Raises:
        UnreadableBlockError: There are biases for smaller parts only, or not one for each head.
    """
    biases = _all_biases(attention)
    known = biases.shape[-1]
    if known < places:
        raise UnreadableBlockError(
            f"it has biases for parts of {known} positions, and attends in parts of {places}"
        )
    if len(biases) != heads:
        raise UnreadableBlockError(f"it has {heads} heads, and biases for {len(biases)}")
    # windows that would be larger than a clip are cut, and have the first of all biases
    return biases[:, :places, :places]


def _all_biases(attention: nn.Module) -> Float[Tensor, "head query_place key_place"]:
    if _has_position_layer(attention):
        layer: Any = attention.get_submodule("rel_pos")
        given: Tensor = layer.get_bias()
        return given.reshape(-1, *given.shape[-2:])
    biased = _biased(attention)
    if has(attention, "relative_coords_table"):
        network = next(name for name in POSITION_NETWORKS if has(attention, name))
        coordinates = biased.relative_coords_table.flatten(0, -2)
        table = GREATEST_BIAS * attention.get_submodule(network)(coordinates).sigmoid()
    else:
        table = biased.relative_position_bias_table
    known = isqrt(biased.relative_position_index.numel())
    biases: Tensor = table[biased.relative_position_index.reshape(known, known)].permute(2, 0, 1)
    return biases
