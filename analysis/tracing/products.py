"""Products of matrices: rows come from where the left one's do, columns from where the right's."""

from dataclasses import dataclass

from nonlocal_lens.analysis.tracing.label import Label, Shape, alike_along, everywhere, first_along
from nonlocal_lens.analysis.tracing.regions import gathered
from nonlocal_lens.analysis.tracing.sources import NOTHING, Ids, Sources

PLACES, NAMES, OWN_NAMES, BAD, NONE = range(5)


@dataclass(frozen=True, eq=False)
class _Side:
    """What one operand says of the product's rows, or of its columns."""

    ids: Ids
    rank: int


def product(
    sources: Sources,
    left: Label | None,
    left_shape: Shape,
    right: Label | None,
    right_shape: Shape,
    what: str,
) -> Label | None:
    """Return the label of left (..., rows, inner) @ right (..., inner, columns).

    It has the sources of rows and those of columns, where both have some, the one first that more
    is known of: rows if in doubt. What is summed over keeps no source, unless it is a patch.
    """
    rows = _side(sources, left, left_shape, -1, right, what)
    columns = _side(sources, right, right_shape, -2, left, what)
    if columns is not None and right is not None and right.own and rows is not None:
        columns = None  # columns of weights are channels
    if rows is None and right is not None and right.own:
        return None
    sides = sorted((s for s in (rows, columns) if s is not None), key=lambda side: side.rank)
    if not sides:
        if left is None or right is None or left.own or right.own:
            return None
        mixed = sources.note("mixed", f"{what} summed over places")
        return everywhere(sources, mixed, max(len(left_shape), len(right_shape)))
    return Label(sources, written=tuple(side.ids for side in sides))


def _side(
    sources: Sources,
    label: Label | None,
    shape: Shape,
    inner: int,
    other: Label | None,
    what: str,
) -> _Side | None:
    if label is None:
        return None
    mixing: list[Ids] = []
    for ids in label.tracks:
        if alike_along(ids, inner):
            kept = first_along(ids, inner)
            rank = _rank(sources, kept, label.own)
            if rank != NONE:
                return _Side(kept, rank)
        else:
            mixing.append(ids)
    if not mixing:
        return None
    if label.own:  # names of a parameter's rows are summed over: it is no token here
        return None
    if other is not None and not other.own and _varies(other, -3 - inner):
        # Keys' sources are summed over values: the other side says whose the result is.
        return None
    places = gathered(sources, mixing[0], [inner], shape, what, alone=True)
    return _Side(places, _rank(sources, places, False))


def _varies(label: Label, dimension: int) -> bool:
    return any(not alike_along(ids, dimension) for ids in label.tracks)


def _rank(sources: Sources, ids: Ids, own: bool) -> int:
    if (ids >= 0).any():
        return PLACES
    kinds = sources.kinds(ids)
    if kinds & {"mixed", "unknown"}:
        return BAD
    if (ids == NOTHING).all():
        return NONE
    return OWN_NAMES if own else NAMES
