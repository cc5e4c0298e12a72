"""Which weights of a row stand out: the few greatest, as far as they can be told from the rest."""

import torch
from jaxtyping import Float
from torch import Tensor

TIE = 1e-6
"""Values that differ by less, relative to them, are equal but for rounding; signed ones, which are
differences, relative to the greatest magnitude."""


def strongest(values: Float[Tensor, " pos"], count: int) -> list[int]:
    """Positions of the greatest values, in descending order; of ties the lower position first.

    Where the last of them ties with one that is left out, nothing tells which of the two belongs to
    the strongest: all that tie there are left out. Of a map that is the same everywhere none stands
    out. `strongest` in app/viewer/marks.js is the same for pages.

    Args:
        values: Of any sign; NaN is never among the strongest.
        count: At most so many, at least 0.
    """
    order = values.nan_to_num(-torch.inf, torch.inf, -torch.inf).argsort(
        descending=True, stable=True
    )
    order = order[~values[order].isnan()]
    if count < 1 or not len(order):
        return []
    ranked = values[order].double()
    tolerance = TIE * (ranked.abs().max().expand(len(ranked)) if ranked[-1] < 0 else ranked)
    if count >= len(order):  # nothing is left out: one map that is the same everywhere is refused
        same = len(order) > 1 and bool((ranked - ranked[-1] <= tolerance)[0])
        return [] if same else [int(position) for position in order]
    apart = (ranked - ranked[count] > tolerance)[:count]
    return [int(position) for position in order[:count][apart]]
