"""How much attention stays where the query is."""

from math import nan

from nonlocal_lens.analysis.baselines import Baselines
from nonlocal_lens.analysis.statistics.statistic import Measured, Statistic, share_of


def _chances(measured: Measured, column: str) -> Baselines:
    if measured.sums.neighborhood is None:
        return Baselines(nan, nan, nan)
    near = getattr(measured.sums.neighborhood, column)
    uniform = near.mean_count / measured.keys
    return Baselines(uniform, near.mean_of(measured.sums.mean_share), uniform)


SELF_MASS = Statistic(
    name="self_mass",
    label="Attention to itself",
    unit="",
    plain="How much of its attention a query gives to its own place.",
    definition="Mean share of a row on the key at the query's own place; undefined where queries "
    "or keys have no places.",
    compute=lambda m: m.sums.self_share.nanmean().item(),
    bounds=share_of,
    degenerate="low",
    baselines=lambda m: _chances(m, "own"),
)

LOCAL_MASS = Statistic(
    name="local_mass",
    label="Attention nearby",
    unit="",
    plain="How much of its attention a query gives to its own place and the cells around it.",
    definition="Mean share of a row on keys at most one cell of the query grid away, down and "
    "across, the query's own place included; of clips, in the query's frame.",
    compute=lambda m: m.sums.local_share.nanmean().item(),
    bounds=share_of,
    degenerate="low",
    baselines=lambda m: _chances(m, "near"),
)
