"""First weights that are drawn at random."""

from torch import Tensor, nn


def draw_normal(weight: Tensor, std: float) -> None:
    """Fill a weight with normally distributed numbers of mean 0, unless it is about to be replaced.

    On the meta device there is nothing to fill, and torch loads its compiler for it, for seconds.
    """
    if not weight.is_meta:
        nn.init.normal_(weight, std=std)
