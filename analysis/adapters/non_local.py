"""Non-local blocks of other code: mmcv, AlexHex7, SlowFast, timm, OCNet, CCNet, SAGAN and others.

Attributes name the layers but do not say what is between them: whether there is a softmax, over
which side, and with which scale. So each way that published code takes is tried, and the block's
own output decides which one it is. Where a block's last gain is 0, as before training, all ways
give the same output, and the first, the most usual one, is taken.
"""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.adapters.adapter import (
    TOLERANCE,
    Call,
    Heads,
    UnreadableBlockError,
    has,
    probed,
    register,
)
from analysis.adapters.criss_cross import is_called_criss_cross, row_and_column
from models.blocks import Reach

ROUNDING = 1e-6  # of a block's output, where TOLERANCE is of what it adds to its input


class Names(NamedTuple):
    """What a kind of block calls its layers, and what it does without saying so."""

    query: str  # "" where features are their own queries and keys
    key: str
    value: str
    out: tuple[str, ...]  # layers after aggregation, in order
    pool: str = ""  # what pools the input before keys and values
    gain: str = ""
    compare: str = ""  # the layer of the concatenation form, where it is that
    halves: bool = False  # whether a function max-pools keys and values by 2
    adds: bool = True  # whether the output is added to the input


KINDS = (
    Names("theta", "phi", "g", ("conv_out",), compare="concat_project"),
    Names("theta", "phi", "g", ("W",), compare="concat_project"),
    Names("theta", "phi", "g", ("W_z",), compare="W_f"),
    Names("theta", "phi", "g", ("conv_out",)),
    Names("theta", "phi", "g", ("W",)),
    Names("theta", "phi", "g", ("W_z",)),
    Names("conv_theta", "conv_phi", "conv_g", ("conv_out", "bn"), pool="pool"),
    Names("conv_theta", "conv_phi", "conv_g", ("conv_out", "norm"), pool="pool"),
    Names("conv_theta", "conv_phi", "conv_g", ("conv_mask",)),
    Names("theta", "phi", "g", ("out", "bn"), pool="maxpool"),
    Names("t", "p", "g", ("z", "norm")),
    Names("query_conv", "key_conv", "value_conv", (), gain="gamma"),
    Names("query_project", "key_project", "value_project", (), gain="gamma"),
    Names("query_project", "key_project", "value_project", ("out_project",), adds=False),
    Names("query_project", "key_project", "value_project", ("output_project",), adds=False),
    Names("query_project", "key_project", "value_project", (), adds=False),
    Names("f_", "g_", "h_", (), gain="gamma"),
    Names("t_func", "f_func", "g_func", ("inc",)),
    Names("f_query", "f_key", "f_value", ("W",), adds=False),
    Names("theta", "phi", "g", ("o",), gain="gamma", halves=True),
    Names(
        "snconv1x1_theta",
        "snconv1x1_phi",
        "snconv1x1_g",
        ("snconv1x1_o_conv",),
        gain="gamma",
        halves=True,
    ),
    Names("", "phi", "g", ("conv_out",)),
    Names("", "phi", "g", ("W",)),
)


def names_of(module: nn.Module) -> Names | None:
    """Return what a module calls its layers, or None if it is not such a block."""
    for names in KINDS:
        if names.value not in module._modules:  # asked first because it is quick to tell
            continue
        # "g" and "W" are short for a Gaussian block: its kind also tells its inner channels
        pair = (names.query, names.key) if names.query else ("inter_channels",)
        more = filter(None, (names.gain, names.compare))
        if has(module, *pair, names.value, *names.out, *more):
            return names
    return None


@register(lambda module: names_of(module) is not None)
def non_local(module: nn.Module, call: Call) -> Heads:
    """Read a block, proved by its own output.

    Raises:
        UnreadableBlockError: The block computes something else, such as a softmax over queries, or
            attention between positions that channels were folded into.
    """
    names, x = names_of(module), call.x
    assert names is not None  # or it would not have been recognized
    if call.more_tensors:
        raise UnreadableBlockError("its keys are of another input than its queries")
    if has(module, "key_downsample"):
        raise UnreadableBlockError("its keys are pooled to several sizes, which no one grid holds")
    call.refuse_windows()
    layer = module.get_submodule

    def through(name: str, y: Tensor) -> Tensor:
        return layer(name)(y) if isinstance(getattr(module, name, None), nn.Module) else y

    pooled = through(names.pool, x) if names.pool else x
    query = layer(names.query)(x) if names.query else x
    key, value = through(names.key, pooled), layer(names.value)(pooled)
    if names.halves:
        key, value = F.max_pool2d(key, 2), F.max_pool2d(value, 2)
    masked = has(module, "conv_mask") and "conv_mask" not in names.out
    unary = layer("conv_mask")(pooled)[0].flatten() if masked else None
    grids = tuple(query.shape[2:]), tuple(key.shape[2:])
    query, key, value, x = (each[0].flatten(1).T for each in (query, key, value, x))
    output = call.own[0].flatten(1).T
    probes = probed(len(query), x)

    added = (output - x if names.adds else output)[probes]
    if names.compare:
        query, key = _parts(layer(names.compare), query, key)

    def finish(
        aggregated: Float[Tensor, "probes value_channels"],
    ) -> Float[Tensor, "probes channels"]:
        y = aggregated.T.reshape(1, -1, len(probes), *(1,) * (len(grids[0]) - 1))
        for name in names.out:
            y = layer(name)(y)
        gain = getattr(module, names.gain) if names.gain else 1
        y = gain(y) if isinstance(gain, nn.Module) else gain * y
        return y[0].flatten(1).T

    def explains(aggregated: Float[Tensor, "probes value_channels"]) -> bool:
        error = (finish(aggregated) - added).norm()
        return bool(error <= TOLERANCE * added.norm() + ROUNDING * output[probes].norm())

    for heads, weights in _ways(module, names, query, key, unary, grids, probes):
        if explains(weights @ value):
            return heads
    for scale in _scales(module, query.shape[1]):
        if explains((scale * query @ key.T).softmax(dim=0)[probes] @ value):
            raise UnreadableBlockError(
                "it normalizes over queries: the columns of its attention sum to 1, not the rows"
            )
    for axis, scale in product((1, 0), _scales(module, x.shape[1])):
        attended = _folded(query, key, value, x.shape[1], scale, axis)
        if attended is not None and explains(attended[probes]):
            raise UnreadableBlockError(
                f"it folds channels into positions: {query.shape[1]} channels of {len(query)} "
                f"positions are read as {x.shape[1]} of {query.numel() // x.shape[1]}, which are "
                "no places of the image" + ("" if axis else ", and normalizes over queries")
            )
    raise UnreadableBlockError("no known way from its queries and keys leads to its own output")


def _folded(
    query: Float[Tensor, "pos channels"],
    key: Float[Tensor, "key_pos channels"],
    value: Float[Tensor, "key_pos value_channels"],
    width: int,
    scale: float,
    axis: int,
) -> Float[Tensor, "pos value_channels"] | None:
    """Return what a block attends to that takes its inner channels to be as many as its input's.

    `view(batch, width, -1)` then gives fewer positions of more channels. None where it cannot.
    """
    sides = query, key, value
    if query.shape != key.shape or query.shape[1] == width:
        return None
    if len(value) != len(query) or any(side.numel() % width for side in sides):
        return None
    query, key, value = (side.T.reshape(width, -1).T for side in sides)
    attended = (scale * query @ key.T).softmax(dim=axis) @ value
    return attended.T.reshape(sides[2].shape[1], -1).T


def _parts(
    compare: nn.Module,
    query: Float[Tensor, "query_pos channels"],
    key: Float[Tensor, "key_pos channels"],
) -> tuple[Float[Tensor, "query_pos 1"], Float[Tensor, "key_pos 1"]]:
    """Return what a query and what a key bring to the number that one layer makes of both."""
    weight, *bias = compare.parameters()
    of_query, of_key = weight.flatten().split([query.shape[1], key.shape[1]])
    from_query = query @ of_query[:, None]
    return from_query + bias[0] if bias else from_query, key @ of_key[:, None]


def _ways(
    module: nn.Module,
    names: Names,
    query: Float[Tensor, "query_pos channels"],
    key: Float[Tensor, "key_pos channels"],
    unary: Float[Tensor, " key_pos"] | None,
    grids: tuple[tuple[int, ...], tuple[int, ...]],
    probes: Int[Tensor, " probes"],
) -> Iterator[tuple[Heads, Float[Tensor, "probes key_pos"]]]:
    """Yield what the block may be, each with how it would weigh the keys of the probed queries."""
    both = query.unsqueeze(0), key.unsqueeze(0)
    if names.compare:
        weights = (query[probes] + key.T).relu() / len(key)
        yield Heads(*both, 1.0, *grids, form="concatenation", coupling="unnormalized"), weights
        return
    form = "embedded_gaussian" if names.query else "gaussian"
    for reach, scale in product(_reaches(module, *grids), _scales(module, query.shape[1])):
        if unary is not None:
            pairwise = scale * (query - query.mean(dim=0))[probes] @ (key - key.mean(dim=0)).T
            heads = Heads(*both, scale, *grids, unary, coupling="disentangled")
            yield heads, pairwise.softmax(dim=1) + unary.softmax(dim=0)
            continue
        logits = scale * query[probes] @ key.T
        if reach is not None:
            unseen = ~reach.sees(probes.cpu()).to(logits.device)
            heads = Heads(*both, scale, *grids, form=form, reach=reach)
            yield heads, logits.masked_fill(unseen, -torch.inf).softmax(dim=1)
            continue
        yield Heads(*both, scale, *grids, form=form), logits.softmax(dim=1)
        dot_product = Heads(*both, scale, *grids, form="dot_product", coupling="unnormalized")
        yield dot_product, logits / len(key)


def _reaches(
    module: nn.Module, queries: tuple[int, ...], keys: tuple[int, ...]
) -> list[Reach | None]:
    """Return what queries may look at, the most usual first: all keys, or their row and column."""
    if len(queries) != 2 or queries != keys:
        return [None]
    known = [None, row_and_column(queries)]
    return known[::-1] if is_called_criss_cross(module) else known


def _scales(module: nn.Module, channels: int) -> list[float]:
    """Return the factors on dot products that published code uses, a module's own first.

    sqrt(channels) is the slip of mmdetection before October 2019 and of GCNet's first code.
    """
    own = getattr(module, "scale", None)
    temperature = float(getattr(module, "temperature", None) or 1)
    usual = (
        [1.0, channels**-0.5] if not getattr(module, "use_scale", False) else [channels**-0.5, 1]
    )
    candidates = ([own] if isinstance(own, float) else []) + [*usual, channels**0.5]
    return [scale / temperature for scale in candidates]


@register(lambda module: has(module, "conv_attn") or has(module, "conv_mask", "channel_add_conv"))
def global_context(module: nn.Module, call: Call) -> Heads:
    """Read the one map of mmcv's `ContextBlock` and of timm's `GlobalContext`."""
    layer = "conv_attn" if has(module, "conv_attn") else "conv_mask"
    unary = module.get_submodule(layer)(call.x)
    shape = tuple(unary.shape[2:])
    unary = unary[0].flatten()
    nothing = unary.new_zeros(1, len(unary), 0)
    return Heads(
        nothing, nothing, 1.0, shape, shape, unary, form="query_independent", coupling="unary"
    )
