"""How much the vectors differ that attention is made of, and those that it makes."""

from math import nan

from jaxtyping import Float
from torch import Tensor

from nonlocal_lens.analysis.statistics.measured import MeasuredHeads
from nonlocal_lens.analysis.statistics.statistic import Statistic, cosine_bounds
from nonlocal_lens.analysis.terms import stacked
from nonlocal_lens.analysis.vectors import cosine_distance


def _of_queries(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    queries = heads.records[0].query_axis.counting
    return cosine_distance(stacked([record.query for record in heads.records])[:, :queries])


def _of_keys(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    return cosine_distance(stacked([record.key for record in heads.records]))


INPUT_COSINE_DISTANCE = Statistic(
    name="input_cosine_distance",
    label="Input distance",
    unit="",
    plain="How differently two places look to the block, before it attends: 0 means equal "
    "features.",
    definition="The cosine distance of what goes into the block, position by position: `input` of "
    "GCNet's Table 1.",
    compute=lambda m: m.vectors.input if m.vectors else nan,
    bounds=cosine_bounds,
    degenerate="low",
    source="GCNet's `input`, unchanged.",
)

QUERY_COSINE_DISTANCE = Statistic(
    name="query_cosine_distance",
    label="Query distance",
    unit="",
    plain="How much the query vectors differ: where they hardly do, no map can depend on the "
    "query.",
    definition="The cosine distance of the vectors of queries that count.",
    compute=lambda m: m.number(_of_queries),
    bounds=cosine_bounds,
    degenerate="low",
    source="GCNet's distance, of vectors that its table does not have.",
)

KEY_COSINE_DISTANCE = Statistic(
    name="key_cosine_distance",
    label="Key distance",
    unit="",
    plain="How much the key vectors differ: where they hardly do, attention has nothing to "
    "choose from.",
    definition="The cosine distance of the key vectors.",
    compute=lambda m: m.number(_of_keys),
    bounds=cosine_bounds,
    source="GCNet's distance, of vectors that its table does not have.",
)

OUTPUT_COSINE_DISTANCE = Statistic(
    name="output_cosine_distance",
    label="Output distance",
    unit="",
    plain="How differently the block changes two places: 0 means that it adds the same everywhere.",
    definition="The cosine distance of what the block adds to its input: `output` of GCNet's "
    "Table 1. 0 where the same is added everywhere.",
    compute=lambda m: m.vectors.output if m.vectors else nan,
    bounds=cosine_bounds,
    degenerate="low",
    source="GCNet's `output`: of what the block adds, not of the sum.",
)
