"""What every degeneracy statistic means, as data."""

from typing import NamedTuple


class Statistic(NamedTuple):
    """What a number means."""

    label: str
    unit: str  # empty where the number is a plain ratio or count
    definition: str


STATISTICS = {
    "unary_share": Statistic(
        "Unary share",
        "",
        "SS(unary) / (SS(pairwise) + SS(unary)): how much of the logits' variation over keys "
        "ignores the query. 1 is fully degenerate, 0 purely pairwise; undefined where all logits "
        "are equal. Where queries look at a part of the grid, of the logits within the parts.",
    ),
    "query_information_bits": Statistic(
        "Query information",
        "bits",
        "H(mean row) - mean H(row): the mutual information between query and attended key, which "
        "is the generalized Jensen-Shannon divergence of the rows. 0 is fully degenerate.",
    ),
    "cosine_distance": Statistic(
        "Cosine distance",
        "",
        "Mean of (1 - cos) / 2 over all ordered pairs of rows, a row with itself included: "
        "`att` of GCNet's Table 1 (Cao et al. 2019). 0 is fully degenerate.",
    ),
    "entropy_bits": Statistic(
        "Row entropy",
        "bits",
        "Mean entropy of a row: how widely a query spreads its attention. log2 of the number of "
        "keys is uniform attention, 0 a single key.",
    ),
    "perplexity": Statistic(
        "Perplexity",
        "keys",
        "Mean of 2^entropy of a row: over how many keys a query spreads its attention.",
    ),
    "jsd_nats": Statistic(
        "Jensen-Shannon divergence",
        "nats",
        "Mean divergence over ordered pairs of rows, a row with itself included: `JSD-att` of "
        "GCNet's Table 1. Of random pairs where there are many. 0 is fully degenerate.",
    ),
    "effective_rank": Statistic(
        "Effective rank",
        "",
        "exp of the entropy of the normalized singular values of the rows, of a random sample "
        "where there are many: how many different maps there are in effect. 1 is fully "
        "degenerate.",
    ),
    "attention_distance": Statistic(
        "Attention distance",
        "pixels",
        "Mean distance in the image between a query and where it attends.",
    ),
    "input_cosine_distance": Statistic(
        "Input distance",
        "",
        "The cosine distance of what goes into the block, position by position: `input` of "
        "GCNet's Table 1.",
    ),
    "query_cosine_distance": Statistic(
        "Query distance", "", "The cosine distance of the query vectors."
    ),
    "key_cosine_distance": Statistic("Key distance", "", "The cosine distance of the key vectors."),
    "output_cosine_distance": Statistic(
        "Output distance",
        "",
        "The cosine distance of what the block adds to its input: `output` of GCNet's Table 1. 0 "
        "where the same is added everywhere.",
    ),
}
"""Every statistic of a `DegeneracyReport`, by field name."""

HEADLINES = ("unary_share", "query_information_bits", "cosine_distance", "entropy_bits")
"""The statistics to show where there is room for few."""

OF_DISTRIBUTIONS = ("query_information_bits", "entropy_bits", "perplexity", "jsd_nats")
"""Statistics that weights with a sign do not have."""
