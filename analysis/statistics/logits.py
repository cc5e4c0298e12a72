"""What the logits alone say: their unary share, and how many directions they have."""

from math import nan

import torch
from jaxtyping import Float
from torch import Tensor

from nonlocal_lens.analysis.baselines import unary_share_baselines
from nonlocal_lens.analysis.spectrum import stable_ranks_of_logits
from nonlocal_lens.analysis.statistics.measured import Measured, MeasuredHeads
from nonlocal_lens.analysis.statistics.statistic import Scope, Statistic, share_of
from nonlocal_lens.analysis.variance import unary_shares


def _unary_shares(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    return unary_shares(heads.records, heads.grams)


def _stable_ranks(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    if heads.records[0].reach is not None:
        return torch.full((len(heads.records),), nan)
    return stable_ranks_of_logits(heads.records, heads.grams)


def _together(measured: Measured) -> float:
    known = measured.restriction
    return measured.queries / 2 ** (known.information_bits if known else 0)


UNARY_SHARE = Statistic(
    name="unary_share",
    label="Unary share",
    unit="",
    plain="Which share of the logits' variation ignores the query; it counts every key alike, "
    "so that a single sink hardly moves it.",
    definition="SS(unary) / (SS(pairwise) + SS(unary)): how much of the logits' variation over "
    "keys ignores the query. It counts every key alike, and so does not see a single key that "
    "takes most of the attention: the unary bits do. 1 is fully degenerate, 0 purely pairwise; "
    "undefined where all logits are equal. Where queries look at a part of the grid, of the logits "
    "within the parts.",
    compute=lambda m: m.number(_unary_shares),
    bounds=share_of,
    degenerate="high",
    source="Nobody's: a consequence of the split of Yin et al. 2020.",
    baselines=lambda m: unary_share_baselines(_together(m)),
)


def _smaller_side(scope: Scope) -> tuple[float, float]:
    return 1.0, float(min(scope.queries, scope.keys))


STABLE_RANK = Statistic(
    name="stable_rank",
    label="Stable rank of the logits",
    unit="",
    plain="In how many directions the logits vary: 1 means that all maps are made from one "
    "pattern.",
    definition="Squared Frobenius norm over squared spectral norm of the logits, less every row's "
    "mean, which no softmax sees: in how many directions they vary. 1 where all rows are multiples "
    "of one; undefined where logits are no products or reach is restricted.",
    compute=lambda m: m.number(_stable_ranks),
    bounds=_smaller_side,
    top="min(N, M)",
    degenerate="low",
    source="Rudelson and Vershynin 2007; of logits, not of weights.",
)
