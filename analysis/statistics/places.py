"""How much attention stays where the query is."""

from math import nan

from jaxtyping import Float
from torch import Tensor

from nonlocal_lens.analysis.baselines import Baselines
from nonlocal_lens.analysis.statistics.measured import Measured, MeasuredHeads
from nonlocal_lens.analysis.statistics.statistic import Statistic, share_of


def _self_masses(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    return heads.sums.self_share.nanmean(dim=1)


def _local_masses(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    return heads.sums.local_share.nanmean(dim=1)


def _self_masses_of_mean(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    assert heads.sums.neighborhood is not None  # whoever asks has looked
    return heads.sums.neighborhood.own.mean_of(heads.sums.mean_share)


def _local_masses_of_mean(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    assert heads.sums.neighborhood is not None  # likewise
    return heads.sums.neighborhood.near.mean_of(heads.sums.mean_share)


def _chances(measured: Measured, *, near: bool) -> Baselines:
    neighborhood = measured.together.sums.neighborhood
    if neighborhood is None:
        return Baselines(nan, nan, nan)
    places = neighborhood.near if near else neighborhood.own
    uniform = places.mean_count / measured.keys
    of_mean = measured.number(_local_masses_of_mean if near else _self_masses_of_mean)
    return Baselines(uniform, of_mean, uniform)


SELF_MASS = Statistic(
    name="self_mass",
    label="Attention to itself",
    unit="",
    plain="How much of its attention a query gives to its own place.",
    definition="Mean share of a row on the key at the query's own place; undefined where queries "
    "or keys have no places.",
    compute=lambda m: m.number(_self_masses),
    bounds=share_of,
    degenerate="low",
    baselines=lambda m: _chances(m, near=False),
)

LOCAL_MASS = Statistic(
    name="local_mass",
    label="Attention nearby",
    unit="",
    plain="How much of its attention a query gives to its own place and the cells around it.",
    definition="Mean share of a row on keys at most one cell of the query grid away, down and "
    "across, the query's own place included; of clips, in the query's frame.",
    compute=lambda m: m.number(_local_masses),
    bounds=share_of,
    degenerate="low",
    baselines=lambda m: _chances(m, near=True),
)
