"""What goes to tokens that are no places: a class token, registers, prompts, words.

With T for which named token a key is, or that it is a place,

    I(query; key)  =  I(query; T)  +  p(place) * I(query; place | a place)

is the chain rule, exact: how much a query says about whether it looks at the picture at all, and
what it says about where.
"""

from math import log2, nan

from nonlocal_lens.analysis.baselines import Baselines
from nonlocal_lens.analysis.statistics.information import OWN, information
from nonlocal_lens.analysis.statistics.measured import Measured
from nonlocal_lens.analysis.statistics.statistic import (
    Scope,
    Statistic,
    at_least_zero,
    share_of,
)

TOKEN_SHARE = Statistic(
    name="token_share",
    label="Off the picture",
    unit="",
    plain="How much of all attention goes to tokens that are no places of the picture, such as "
    "the class token and registers.",
    definition="Mean share of a row on all keys that are no places of the picture together, such "
    "as a class token and registers. `token_shares` of a report has each by its name.",
    compute=lambda m: m.token_share,
    bounds=share_of,
    baselines=lambda m: Baselines(m.named / m.keys, m.token_share, m.named / m.keys),
    of_distributions=True,
)


def _kind_bounds(scope: Scope) -> tuple[float, float]:
    return 0.0, log2(min(scope.queries, scope.keys))


def _of_kind(measured: Measured) -> float:
    return at_least_zero(measured.kind_information_bits)


TOKEN_INFORMATION_BITS = Statistic(
    name="token_information_bits",
    label="Information about tokens",
    unit="bits",
    plain="How many bits of the query information are about whether, and to which, of these "
    "tokens a query looks.",
    definition="I(query; which named token, or a place): the part of the query information that "
    "says which of the tokens that are no places a query attends to, or the picture. 0 where there "
    "are no such tokens.",
    compute=_of_kind,
    bounds=_kind_bounds,
    top="log2 min(N, M)",
    source=OWN,
    baselines=lambda m: Baselines(0.0, 0.0, nan),
    of_distributions=True,
)

PLACE_INFORMATION_BITS = Statistic(
    name="place_information_bits",
    label="Information about places",
    unit="bits",
    plain="How many bits of the query information are about where in the picture a query looks.",
    definition="p(place) * I(query; place | a place): the rest of the query information, which "
    "says where on the picture a query looks. Divided by the share on places, it is what attention "
    "among places alone would have.",
    compute=lambda m: at_least_zero(information(m) - _of_kind(m)),
    bounds=_kind_bounds,
    top="log2 min(N, M)",
    degenerate="low",
    source=OWN,
    baselines=lambda m: Baselines(0.0, 0.0, nan),
    of_distributions=True,
)
