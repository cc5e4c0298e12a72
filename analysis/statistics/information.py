"""How selective attention is, in bits, and how much of that is the same for every query.

With the rows a_i, their mean row m and M keys,

    log2 M - mean H(a_i)  =  (log2 M - H(m))  +  (H(m) - mean H(a_i))
         selectivity      =       unary       +    query information

is exact: the left side is the mean divergence of a row from uniform attention, the first summand
that of the mean row from it, the second the mean divergence of a row from the mean row, which is
the mutual information of query and key. All three are at least 0. Where queries do not look at all
keys, what the reach alone makes of selectivity and information is in them, and
`analysis.parts.Restriction` says how much it is.
"""

from math import log2, nan

from jaxtyping import Float
from torch import Tensor

from nonlocal_lens.analysis.baselines import Baselines
from nonlocal_lens.analysis.statistics.measured import Measured, MeasuredHeads
from nonlocal_lens.analysis.statistics.statistic import (
    Scope,
    Statistic,
    at_least_zero,
    bits_over_keys,
    from_one_to_keys,
    share_of,
)

OWN = "Nobody's: the split of the attention itself, as the two-way one is of its logits."


def _information_bounds(scope: Scope) -> tuple[float, float]:
    return 0.0, log2(min(scope.queries, scope.keys))


def _selectivity(measured: Measured) -> float:
    return at_least_zero(log2(measured.keys) - measured.entropy_bits)


def _unary(measured: Measured) -> float:
    return at_least_zero(log2(measured.keys) - measured.entropy_of_mean_bits)


def information(measured: Measured) -> float:
    """Return the query information in bits."""
    return at_least_zero(measured.entropy_of_mean_bits - measured.entropy_bits)


def _shuffled_unary(measured: Measured) -> float:
    return at_least_zero(log2(measured.keys) - measured.shuffled_entropy_of_mean_bits)


def _shuffled_information(measured: Measured) -> float:
    # sampled, so that noise may carry it beyond what there can be
    most = log2(min(measured.queries, measured.keys))
    found = at_least_zero(measured.shuffled_entropy_of_mean_bits - measured.entropy_bits)
    return min(found, most)


SELECTIVITY_BITS = Statistic(
    name="selectivity_bits",
    label="Selectivity",
    unit="bits",
    plain="How far attention is from looking at everything alike: 0 bits is a flat map, and "
    "every bit more about halves the keys that are looked at.",
    definition="log2 of the number of keys - mean H(row): how far a row is from uniform attention, "
    "on average. It is the sum of the unary bits and the query information. 0 is uniform.",
    compute=_selectivity,
    bounds=bits_over_keys,
    top="log2 M",
    source=OWN,
    baselines=lambda m: Baselines(0.0, _unary(m), _selectivity(m)),
    of_distributions=True,
)

UNARY_BITS = Statistic(
    name="unary_bits",
    label="Unary bits",
    unit="bits",
    plain="The part of the selectivity that is the same wherever you point: how far the average"
    " of all maps is from flat.",
    definition="log2 of the number of keys - H(mean row): how selective the mean row is, which is "
    "the part of the selectivity that is the same for every query.",
    compute=_unary,
    bounds=bits_over_keys,
    top="log2 M",
    source=OWN,
    baselines=lambda m: Baselines(0.0, _unary(m), _shuffled_unary(m)),
    of_distributions=True,
)

QUERY_INFORMATION_BITS = Statistic(
    name="query_information_bits",
    label="Query information",
    unit="bits",
    plain="The part of the selectivity that depends on where you point: 0 bits means that every"
    " query has the same map.",
    definition="H(mean row) - mean H(row): the mutual information between query and attended key, "
    "which is the generalized Jensen-Shannon divergence of the rows. 0 is fully degenerate.",
    compute=information,
    bounds=_information_bounds,
    top="log2 min(N, M)",
    degenerate="low",
    source="Nobody's: the generalized Jensen-Shannon divergence of all rows.",
    baselines=lambda m: Baselines(0.0, 0.0, _shuffled_information(m)),
    of_distributions=True,
)


UNIFORM_BITS = 1e-6
"""Attention of no greater selectivity is uniform but for rounding in single precision."""


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > UNIFORM_BITS else nan


UNARY_INFORMATION_SHARE = Statistic(
    name="unary_information_share",
    label="Same for every query",
    unit="",
    plain="Which share of what attention selects is the same for every query; of nearly flat "
    "attention it is a share of almost nothing.",
    definition="Unary bits / selectivity: how much of what attention selects is the same for every "
    "query. Read it beside the selectivity: of nearly uniform attention it is a share of next to "
    "nothing. 1 is fully degenerate; undefined where attention is uniform.",
    compute=lambda m: _ratio(_unary(m), _unary(m) + information(m)),
    bounds=share_of,
    degenerate="high",
    source=OWN,
    baselines=lambda m: Baselines(
        nan,
        _ratio(_unary(m), _unary(m)),
        _ratio(_shuffled_unary(m), _shuffled_unary(m) + _shuffled_information(m)),
    ),
    of_distributions=True,
)


def _normalized(information: float, measured: Measured, entropy_of_mean: float) -> float:
    possible = log2(measured.queries) * entropy_of_mean
    return information / possible**0.5 if possible > 0 else nan


NORMALIZED_MUTUAL_INFORMATION = Statistic(
    name="normalized_mutual_information",
    label="Normalized mutual information",
    unit="",
    plain="Query information on a scale from 0, all maps are equal, to 1, every query has a key"
    " of its own.",
    definition="Query information / sqrt(log2 of the number of queries * H(mean row)): 0 where "
    "all rows are equal, 1 where every query has a key of its own.",
    compute=lambda m: _normalized(information(m), m, m.entropy_of_mean_bits),
    bounds=share_of,
    degenerate="low",
    source="Park et al. 2023 (arXiv 2305.00729), with the natural prior of equally likely queries.",
    baselines=lambda m: Baselines(
        _normalized(0.0, m, log2(m.keys)),
        _normalized(0.0, m, m.entropy_of_mean_bits),
        _normalized(_shuffled_information(m), m, m.shuffled_entropy_of_mean_bits),
    ),
    of_distributions=True,
)

ENTROPY_BITS = Statistic(
    name="entropy_bits",
    label="Row entropy",
    unit="bits",
    plain="How widely a query spreads its attention: the fewer bits, the fewer keys it looks at.",
    definition="Mean entropy of a row: how widely a query spreads its attention. log2 of the "
    "number of keys is uniform attention, 0 a single key.",
    compute=lambda m: m.entropy_bits,
    bounds=bits_over_keys,
    top="log2 M",
    baselines=lambda m: Baselines(log2(m.keys), m.entropy_of_mean_bits, m.entropy_bits),
    of_distributions=True,
)


def _perplexities(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    return heads.sums.entropy_nats.exp().nanmean(dim=1)


def _perplexity(measured: Measured) -> float:
    return measured.number(_perplexities)


PERPLEXITY = Statistic(
    name="perplexity",
    label="Perplexity",
    unit="keys",
    plain="Over how many keys a query spreads its attention, on average.",
    definition="Mean of 2^entropy of a row: over how many keys a query spreads its attention.",
    compute=_perplexity,
    bounds=from_one_to_keys,
    top="M",
    baselines=lambda m: Baselines(float(m.keys), 2**m.entropy_of_mean_bits, _perplexity(m)),
    of_distributions=True,
)
