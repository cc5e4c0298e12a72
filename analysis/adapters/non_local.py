"""Non-local blocks of other code: mmcv, mmsegmentation, AlexHex7, SlowFast, timm, SAGAN's kind.

Attributes name the layers but do not say what is between them: whether there is a softmax, over
which side, and with which scale. So each way that published code takes is tried, and the block's
own output decides which one it is. Where a block's last gain is 0, as before training, all ways
give the same output, and the first, the most usual one, is taken.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from analysis.adapters.adapter import Call, Heads, UnreadableBlockError, has, register

TOLERANCE = 1e-4  # of what the block adds to its input
ROUNDING = 1e-6  # of its output
PROBES = 32  # queries whose output is rebuilt to tell how a block computes


class Names(NamedTuple):
    """What a kind of block calls its layers."""

    query: str
    key: str
    value: str
    out: tuple[str, ...]  # layers after aggregation, in order; the first that there are
    pool: str = ""  # what pools the input before keys and values
    gain: str = ""


KINDS = (
    Names("theta", "phi", "g", ("conv_out",)),
    Names("theta", "phi", "g", ("W",)),
    Names("conv_theta", "conv_phi", "conv_g", ("conv_out", "bn"), pool="pool"),
    Names("conv_theta", "conv_phi", "conv_g", ("conv_out", "norm"), pool="pool"),
    Names("theta", "phi", "g", ("out", "bn"), pool="maxpool"),
    Names("t", "p", "g", ("z", "norm")),
    Names("query_conv", "key_conv", "value_conv", (), gain="gamma"),
)


def names_of(module: nn.Module) -> Names | None:
    """Return what a module calls its layers, or None if it is not such a block."""
    for names in KINDS:
        needed = (names.query, names.key, names.value, *names.out, *filter(None, [names.gain]))
        if has(module, *needed):
            return names
    return None


@register(lambda module: names_of(module) is not None and not has(module, "concat_project"))
def non_local(module: nn.Module, call: Call) -> Heads:
    """Read a block, proved by its own output.

    Raises:
        UnreadableBlockError: The block computes something else, such as a softmax over queries.
    """
    names, x = names_of(module), call.x
    assert names is not None  # or it would not have been recognized
    layer = module.get_submodule
    pools = bool(names.pool) and isinstance(getattr(module, names.pool, None), nn.Module)
    pooled = layer(names.pool)(x) if pools else x
    query, key, value = (
        layer(names.query)(x),
        layer(names.key)(pooled),
        layer(names.value)(pooled),
    )
    unary = layer("conv_mask")(pooled)[0].flatten() if has(module, "conv_mask") else None
    grids = tuple(query.shape[2:]), tuple(key.shape[2:])
    query, key, value, x = (each[0].flatten(1).T for each in (query, key, value, x))
    output = call.output[0] if isinstance(call.output, tuple) else call.output
    output = output[0].flatten(1).T
    probes = torch.linspace(0, len(query) - 1, min(PROBES, len(query)), device=x.device).long()

    def finish(
        aggregated: Float[Tensor, "probes value_channels"],
    ) -> Float[Tensor, "probes channels"]:
        y = aggregated.T.reshape(1, -1, len(probes), *(1,) * (len(grids[0]) - 1))
        for name in names.out:
            y = layer(name)(y)
        gain = getattr(module, names.gain) if names.gain else 1
        return x[probes] + (gain * y)[0].flatten(1).T

    def explains(weights: Float[Tensor, "probes key_pos"]) -> bool:
        error = (finish(weights @ value) - output[probes]).norm()
        added = (output - x)[probes].norm()
        return bool(error <= TOLERANCE * added + ROUNDING * output[probes].norm())

    for heads, weights in _ways(module, query, key, unary, grids, probes):
        if explains(weights):
            return heads
    for scale in _scales(module, query.shape[1]):
        if explains((scale * query @ key.T).softmax(dim=0)[probes]):
            raise UnreadableBlockError(
                "it normalizes over queries: the columns of its attention sum to 1, not the rows"
            )
    raise UnreadableBlockError("no known way from its queries and keys leads to its own output")


def _ways(
    module: nn.Module,
    query: Float[Tensor, "query_pos channels"],
    key: Float[Tensor, "key_pos channels"],
    unary: Float[Tensor, " key_pos"] | None,
    grids: tuple[tuple[int, ...], tuple[int, ...]],
    probes: Int[Tensor, " probes"],
) -> Iterator[tuple[Heads, Float[Tensor, "probes key_pos"]]]:
    """Yield what the block may be, each with how it would weigh the keys of the probed queries."""
    both = query.unsqueeze(0), key.unsqueeze(0)
    for scale in _scales(module, query.shape[1]):
        if unary is not None:
            pairwise = scale * (query - query.mean(dim=0))[probes] @ (key - key.mean(dim=0)).T
            heads = Heads(*both, scale, *grids, unary, coupling="disentangled")
            yield heads, pairwise.softmax(dim=1) + unary.softmax(dim=0)
            continue
        logits = scale * query[probes] @ key.T
        yield Heads(*both, scale, *grids), logits.softmax(dim=1)
        dot_product = Heads(*both, scale, *grids, form="dot_product", coupling="unnormalized")
        yield dot_product, logits / len(key)


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
