"""How the rows of attention differ, and how far and how widely they look."""

from math import log, nan

from jaxtyping import Float
from torch import Tensor

from nonlocal_lens.analysis.baselines import Baselines, shuffled_cosine_distance
from nonlocal_lens.analysis.statistics.measured import Measured, MeasuredHeads
from nonlocal_lens.analysis.statistics.statistic import (
    Scope,
    Statistic,
    cosine_bounds,
    from_one_to_keys,
)
from nonlocal_lens.analysis.vectors import distance_from_mean_cosine


def _cosine_distances(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    # |mean unit row|^2 is the mean cosine over all ordered pairs, so no pair is ever visited
    return distance_from_mean_cosine(heads.sums.mean_unit.square().sum(dim=1))


def _shuffled_cosine_distances(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    return shuffled_cosine_distance(heads.sums)


COSINE_DISTANCE = Statistic(
    name="cosine_distance",
    label="Cosine distance",
    unit="",
    plain="How differently two queries attend on average, by the angle between their maps: 0 "
    "means equal maps.",
    definition="Mean of (1 - cos) / 2 over all ordered pairs of rows, a row with itself included: "
    "`att` of GCNet's Table 1 (Cao et al. 2019). 0 is fully degenerate.",
    compute=lambda m: m.number(_cosine_distances),
    bounds=cosine_bounds,
    degenerate="low",
    source="GCNet's `att`, unchanged: the pairs of a row with itself are in it.",
    baselines=lambda m: Baselines(0.0, 0.0, m.number(_shuffled_cosine_distances)),
)


def _jsd_bounds(_: Scope) -> tuple[float, float]:
    return 0.0, log(2)


JSD_NATS = Statistic(
    name="jsd_nats",
    label="Jensen-Shannon divergence",
    unit="nats",
    plain="How differently two queries attend on average, by the divergence of their maps: 0 "
    "means equal maps.",
    definition="Mean divergence over ordered pairs of rows, a row with itself included: `JSD-att` "
    "of GCNet's Table 1. Of random pairs where there are many. 0 is fully degenerate.",
    compute=lambda m: m.divergences[0].mean,
    bounds=_jsd_bounds,
    top="ln 2",
    degenerate="low",
    source="GCNet's `JSD-att`; over random pairs where there are many, with standard error.",
    baselines=lambda m: Baselines(0.0, 0.0, m.divergences[1].mean),
    of_distributions=True,
)


def _rank_bounds(scope: Scope) -> tuple[float, float]:
    return 1.0, float(min(scope.ranked_rows, scope.keys))


EFFECTIVE_RANK = Statistic(
    name="effective_rank",
    label="Effective rank",
    unit="",
    plain="How many different maps there are in effect among all queries: 1 means one map for "
    "everybody.",
    definition="exp of the entropy of the normalized singular values of the rows, of a random "
    "sample where there are many: how many different maps there are in effect. 1 is fully "
    "degenerate.",
    compute=lambda m: m.rank.rank,
    bounds=_rank_bounds,
    top="the smaller of M and the rows it is of",
    degenerate="low",
    source="Roy and Vetterli 2007; of a random sample of rows where there are many.",
    baselines=lambda m: Baselines(1.0, 1.0, m.rank.shuffled),
)


def _participations(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    return 1 / heads.sums.mean_share.square().sum(dim=1)


def _shuffled_participations(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    # sampled, so that noise may carry it beyond the number of keys
    keys = heads.keys
    return (1 / (keys * heads.sums.shuffled_mean_share.square().mean(dim=1))).clamp_max(keys)


PARTICIPATION_RATIO = Statistic(
    name="participation_ratio",
    label="Keys that take part",
    unit="keys",
    plain="How many keys get attention from anybody, counted by how much they get.",
    definition="1 / sum of the squared shares of the mean row: how many keys get attention at all, "
    "counted by weight. 1 is a single key for everybody, the number of keys is uniform.",
    compute=lambda m: m.number(_participations),
    bounds=from_one_to_keys,
    top="M",
    source="The inverse participation ratio of physics (Bell and Dean 1970), of the mean row.",
    baselines=lambda m: Baselines(
        float(m.keys), m.number(_participations), m.number(_shuffled_participations)
    ),
    of_distributions=True,
)


def _distance_bounds(scope: Scope) -> tuple[float, float]:
    return 0.0, scope.farthest


def _mean_distances(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    return heads.sums.distance.nanmean(dim=1)


def _distances_of_mean(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    assert heads.sums.distances is not None  # whoever asks has looked
    to_keys = heads.sums.distances.mean_to_keys
    on_places = heads.sums.mean_share[:, : len(to_keys)]
    return on_places @ to_keys / on_places.sum(dim=1)


def _distance_baselines(measured: Measured) -> Baselines:
    distances = measured.together.sums.distances
    if distances is None:
        return Baselines(nan, nan, nan)
    uniform = distances.mean_to_keys.mean().item()
    return Baselines(uniform, measured.number(_distances_of_mean), uniform)


ATTENTION_DISTANCE = Statistic(
    name="attention_distance",
    label="Attention distance",
    unit="pixels",
    plain="How far away a query looks, on average, in pixels of the picture.",
    definition="Mean distance in the image between a query and where it attends, of what falls on "
    "places; undefined where queries or keys have none.",
    compute=lambda m: m.number(_mean_distances),
    bounds=_distance_bounds,
    top="the greatest distance of a query from a key",
    baselines=_distance_baselines,
)
