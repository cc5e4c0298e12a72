"""Products that weight the values of places with numbers that no rule follows."""

from jaxtyping import Int
from torch import Tensor

from nonlocal_lens.analysis.tracing.logits import Lookup

Labels = Int[Tensor, "..."]


def weighs_places(left: Tensor, right: Tensor, lookup: Lookup, *, weights_are_left: bool) -> bool:
    """Return whether one factor of a matrix product has weights for the other's places.

    So it is where the product sums over different places of the one, while the other comes from
    the input, too, and is no list of features of these very places: sums over places of products of
    features, as in bilinear pooling or linear attention, weight nothing.

    Args:
        left: The left factor, (..., n, m).
        right: The right one, (..., m, p).
        lookup: Tells where the entries of a tensor came from.
        weights_are_left: Which factor may have the weights.
    """
    of_left, of_right = lookup(left), lookup(right)
    if of_left is None or of_right is None:
        return False
    sides = of_left, of_right.mT
    return _weighs(*sides) if weights_are_left else _weighs(*sides[::-1])


def _weighs(weights: Labels, values: Labels) -> bool:
    """Return whether (..., rows, places) is summed with (..., channels, places)."""
    if values.shape[-1] < 2 or weights.shape[-2] < 2:
        return False
    weights, values = _written_once(weights), _written_once(values)
    places = values[..., :1, :]
    are_places = bool((places >= 0).all()) and bool((places[..., 1:] != places[..., :-1]).all())
    if not are_places or not bool((values == places).all()):
        return False
    from_elsewhere = (weights >= 0) & (weights != places)
    return bool(from_elsewhere.any())


def _written_once(labels: Labels) -> Labels:
    """Return labels with length 1 along what is one number seen again and again, but for places."""
    for side in range(labels.ndim - 1):
        if labels.stride(side) == 0 and labels.shape[side] > 1:
            labels = labels.narrow(side, 0, 1)
    return labels
