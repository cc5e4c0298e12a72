"""Whether one key takes much of everybody's attention: a sink."""

from math import nan

import torch
from jaxtyping import Float
from torch import Tensor

from nonlocal_lens.analysis.baselines import Baselines
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.spectrum import stable_rank
from nonlocal_lens.analysis.statistics.measured import Measured, MeasuredHeads
from nonlocal_lens.analysis.statistics.statistic import (
    Scope,
    Statistic,
    at_least_one,
    share_of,
)
from nonlocal_lens.analysis.streaming import STRONG

SINK = 0.3
"""Mean share from which on a key counts as a sink (Gu et al. 2025, arXiv 2410.10781: epsilon)."""

ROUTED = STRONG
"""Share of a row from which on its query counts as routed to the key."""


def _from_even_to_all(scope: Scope) -> tuple[float, float]:
    return 1 / scope.keys, 1.0


def _shares(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    return heads.sums.mean_share.amax(dim=1)


def _share(measured: Measured) -> float:
    return measured.number(_shares)


SINK_SHARE = Statistic(
    name="sink_share",
    label="Sink share",
    unit="",
    plain="How much of all attention goes to the one key that gets most; from 0.3 on it is "
    "called a sink.",
    definition="The largest share of the mean row: how much of all attention goes to the one key "
    "that gets most. From 0.3 on it counts as a sink. It is of all queries: where they look at "
    "their own window, row or frame only, a key gets at most the share of queries that see it.",
    compute=_share,
    bounds=_from_even_to_all,
    bottom="1 / M",
    degenerate="high",
    source="Gu et al. 2025 (arXiv 2410.10781), of all queries.",
    baselines=lambda m: Baselines(1 / m.keys, _share(m), m.shuffled_extremes[0]),
    of_distributions=True,
)


def _concentrations(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    median = heads.sums.mean_share.quantile(0.5, dim=1)
    return _shares(heads) / median  # infinite where half of the keys get nothing


def _concentration(measured: Measured) -> float:
    return measured.number(_concentrations)


SINK_CONCENTRATION = Statistic(
    name="sink_concentration",
    label="Sink concentration",
    unit="",
    plain="How many times the attention of an ordinary key (the median) goes to the one that "
    "gets most.",
    definition="The largest share of the mean row over its median: how far the key that gets most "
    "stands out. 1 where all keys get the same, infinite where half of them get nothing.",
    compute=_concentration,
    bounds=at_least_one,
    degenerate="high",
    source="As sinks are told apart in the literature: the maximum over the median.",
    baselines=lambda m: Baselines(1.0, _concentration(m), m.shuffled_extremes[1]),
    of_distributions=True,
)


def _is_sink(share: float) -> float:
    return float(share >= SINK) if share == share else nan


SINK_RATE = Statistic(
    name="sink_rate",
    label="Sink rate",
    unit="",
    plain="Whether this head has a sink, 1 or 0; averaged over heads it is the share of heads "
    "that have one.",
    definition="1 where the sink share is at least 0.3, else 0; its mean over heads is the share "
    "of heads that have a sink. 0 by construction where at most 0.3 of all queries see a key.",
    compute=lambda m: _is_sink(_share(m)),
    bounds=share_of,
    degenerate="high",
    source="Gu et al. 2025 (arXiv 2410.10781): the share of heads with a sink, at 0.3.",
    baselines=lambda m: Baselines(
        _is_sink(1 / m.keys), _is_sink(_share(m)), _is_sink(m.shuffled_extremes[0])
    ),
    of_distributions=True,
)


def _routed(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    return heads.sums.routed_share(heads.sums.mean_share.argmax(dim=1))


def _strong_share(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    strong = heads.sums.strong
    return (strong >= 0).sum(dim=(1, 2)).double() / strong.shape[1]


SINK_ROUTED = Statistic(
    name="sink_routed",
    label="Routed to the sink",
    unit="",
    plain="The share of queries that send at least half of their attention to the one key that "
    "gets most.",
    definition="Share of queries that give at least half of their attention to the key that gets "
    "most on average.",
    compute=lambda m: m.number(_routed),
    bounds=share_of,
    degenerate="high",
    source="The routed fraction of the sink literature, at one half.",
    # a shuffled row routes to one key as often as to any other
    baselines=lambda m: Baselines(
        float(1 / m.keys >= ROUTED),
        float(_share(m) >= ROUTED),
        m.number(_strong_share) / m.keys,
    ),
    of_distributions=True,
)

SINK_EVENT = 0.9
"""Share of queries routed to one key from which on it is a sink of a kind (Fesser et al. 2026)."""

NO_OPERATION, BROADCAST, ONE_DIRECTION = 0.2, 0.5, 1.5
"""Length of the sink's value over the mean of all keys': up to the first the sink adds next to
nothing. From the second on, and where the update has a stable rank of at most the third, it adds
the same to every query (Fesser et al. 2026, arXiv 2606.08105)."""


def _value_ratios(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    lengths = torch.stack([one for one in map(_value_norm, heads.records) if one is not None])
    lengths = lengths.double()
    of_sink = lengths.gather(1, heads.sums.mean_share.argmax(dim=1, keepdim=True))[:, 0]
    mean = lengths.mean(dim=1)
    return (of_sink / mean).where(mean > 0, nan)


def _value_norm(record: AttentionRecord) -> Float[Tensor, " key_pos"] | None:
    return record.value_norm


SINK_VALUE_RATIO = Statistic(
    name="sink_value_ratio",
    label="Value of the sink",
    unit="",
    definition="Length of the value of the key that gets most attention on average, on its way "
    "out, over the mean length of all keys' values: near 0 where attention to it adds nothing. "
    "Undefined where values are not known.",
    compute=lambda m: nan if m.record.value_norm is None else m.number(_value_ratios),
    bounds=lambda scope: (0.0, float(scope.keys)),
    top="M",
    source="Fesser et al. 2026 (arXiv 2606.08105): the ratio of value norms.",
    plain="How long the value is that attention to the sink brings back, over the mean length of "
    "all values: near 0, looking there adds nothing.",
)


def _smaller_side(scope: Scope) -> tuple[float, float]:
    return 1.0, float(min(scope.queries, scope.keys))


def _update_ranks(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    assert heads.sums.attended is not None  # whoever asks has looked
    return stable_rank(heads.sums.attended)


UPDATE_STABLE_RANK = Statistic(
    name="update_stable_rank",
    label="Stable rank of the update",
    unit="",
    plain="In how many directions what attention adds varies over queries: 1 means that every "
    "query is given the same vector, longer or shorter.",
    definition="Squared Frobenius norm over squared spectral norm of the values on their way out, "
    "weighted by every row: in how many directions a block's update lies. 1 where all queries are "
    "given multiples of one vector; undefined where values are not known.",
    compute=lambda m: nan if m.update is None else m.number(_update_ranks),
    bounds=_smaller_side,
    top="min(N, M)",
    degenerate="low",
    source="Fesser et al. 2026 (arXiv 2606.08105), of one head's update.",
)


def sink_kind(routed: float, value_ratio: float, update_rank: float) -> str:
    """Return of what kind a sink is: "no-operation", "broadcast", or "" for none that is known.

    Args:
        routed: Share of queries that give the key at least half of their attention.
        value_ratio: Length of its value over the mean of all keys'; NaN where that is not known.
        update_rank: Stable rank of what all queries are given; NaN where that is not known.
    """
    if not routed >= SINK_EVENT:
        return ""
    if value_ratio <= NO_OPERATION:
        return "no-operation"
    return "broadcast" if value_ratio >= BROADCAST and update_rank <= ONE_DIRECTION else ""
