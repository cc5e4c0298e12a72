"""What is pinned in an exploration, from whatever its user sets."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

from nonlocal_lens.analysis.axis import Axis


class ClipQuery(NamedTuple):
    """What is pinned in a clip."""

    frame: int  # of the frames that are looked at, counted from 0
    x: float  # image pixels
    y: float


class ClipToken(NamedTuple):
    """A token that is no place, pinned in a clip."""

    frame: int  # of the frames that are looked at, counted from 0
    token: str  # what it is called


def position_of(query: Any, axis: Axis) -> int:
    """Return the index of what is to be pinned in a picture.

    Raises:
        ValueError: It is no point (x, y) of a token, no index and no name of one.
    """
    if isinstance(query, str):
        return axis.index(query)
    if isinstance(query, Integral):
        position = int(query)
        if not 0 <= position < len(axis):
            raise ValueError(f"position must be in [0, {len(axis)}), got {position}")
        return position
    if not (isinstance(query, list | tuple) and len(query) == 2):
        raise ValueError(
            f"a query must be a point (x, y), a flat position or the name of a token, got {query!r}"
        )
    return axis.under(query[0], query[1])


def clip_query_of(query: Any, frames: int, axes: Sequence[Axis]) -> ClipQuery | ClipToken:
    """Return what is to be pinned in a clip of some frames.

    Args:
        query: (frame, x, y), or (frame, token).
        frames: Of the clip.
        axes: The query axes of all networks, the leading one first.

    Raises:
        ValueError: It is neither, or no frame, no token or no place of a network.
    """
    wrong = f"a query in a clip must be (frame, x, y) or (frame, token), got {query!r}"
    if not (isinstance(query, list | tuple) and len(query) in (2, 3)):
        raise ValueError(wrong)
    frame, *spot = query
    if not isinstance(frame, Integral):
        raise ValueError(wrong)
    if not 0 <= int(frame) < frames:
        raise ValueError(f"frame must be in [0, {frames}) of the clip, got {frame}")
    if len(spot) == 1 and isinstance(spot[0], str):
        axes[0].index(spot[0])
        return ClipToken(int(frame), spot[0])
    if len(spot) != 2 or not all(isinstance(number, Real) for number in spot):
        raise ValueError(wrong)
    x, y = map(float, spot)
    for axis in axes:
        axis.under(x, y)
    return ClipQuery(int(frame), x, y)
