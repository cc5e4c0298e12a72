"""Every degeneracy statistic, in the order in which tables have them.

A statistic is an entry here and its definition in `analysis.statistics`. Reports, tables, charts,
the command line and the docs take it from this list; other packages add theirs as entry points of
the group `nonlocal_lens.statistics`, each a `Statistic`.
"""

from nonlocal_lens.analysis.extensions import STATISTICS as STATISTICS_OF_OTHERS
from nonlocal_lens.analysis.extensions import loaded_extensions
from nonlocal_lens.analysis.statistics import (
    information,
    logits,
    places,
    rows,
    sinks,
    tokens,
    vectors,
)
from nonlocal_lens.analysis.statistics.statistic import Statistic

OURS = (
    information.SELECTIVITY_BITS,
    information.UNARY_BITS,
    information.QUERY_INFORMATION_BITS,
    information.UNARY_INFORMATION_SHARE,
    tokens.TOKEN_SHARE,
    tokens.TOKEN_INFORMATION_BITS,
    tokens.PLACE_INFORMATION_BITS,
    sinks.SINK_SHARE,
    sinks.SINK_CONCENTRATION,
    sinks.SINK_RATE,
    sinks.SINK_ROUTED,
    sinks.SINK_VALUE_RATIO,
    sinks.UPDATE_STABLE_RANK,
    logits.UNARY_SHARE,
    logits.STABLE_RANK,
    rows.COSINE_DISTANCE,
    information.ENTROPY_BITS,
    information.PERPLEXITY,
    information.NORMALIZED_MUTUAL_INFORMATION,
    rows.JSD_NATS,
    rows.EFFECTIVE_RANK,
    rows.PARTICIPATION_RATIO,
    rows.ATTENTION_DISTANCE,
    places.SELF_MASS,
    places.LOCAL_MASS,
    vectors.INPUT_COSINE_DISTANCE,
    vectors.QUERY_COSINE_DISTANCE,
    vectors.KEY_COSINE_DISTANCE,
    vectors.OUTPUT_COSINE_DISTANCE,
)


def _catalog() -> dict[str, Statistic]:
    catalog = {statistic.name: statistic for statistic in OURS}
    for name, statistic in loaded_extensions(STATISTICS_OF_OTHERS, Statistic).items():
        if statistic.name in catalog:
            raise ValueError(
                f"the statistic {statistic.name!r} of the entry point {name!r} has the name of one "
                "that is there already"
            )
        catalog[statistic.name] = statistic
    return catalog


STATISTICS = _catalog()
"""Every statistic of a `DegeneracyReport`, by name."""

HEADLINES = ("selectivity_bits", "unary_bits", "query_information_bits", "unary_share")
"""The statistics to show where there is room for few."""

WITH_BASELINES = tuple(name for name, known in STATISTICS.items() if known.baselines is not None)
"""Statistics of attention, as opposed to vectors and logits."""

OF_DISTRIBUTIONS = tuple(name for name, known in STATISTICS.items() if known.of_distributions)
"""Statistics that weights with a sign do not have."""
