"""Queries in clips: a place in the picture, and the frame that it is in."""

from typing import NamedTuple

from analysis.figures.queries import QuerySpec


class Place(NamedTuple):
    """A query in a clip."""

    frame: int  # of the frames that were chosen of the clip, counted from 0
    x: float  # image pixels
    y: float


class ClipQuery(NamedTuple):
    """A way to choose queries, before there is a clip."""

    frame: int | None  # None: the one in the middle
    spec: QuerySpec

    @classmethod
    def parse(cls, text: str) -> "ClipQuery":
        """Read `T,X,Y` or whatever `QuerySpec.parse` reads; ValueError for anything else."""
        first, comma, rest = text.partition(",")
        if ":" in text or rest.count(",") != 1:
            return cls(None, QuerySpec.parse(text))
        if not (comma and first.strip().isdecimal()):
            raise ValueError(
                "a query in a clip must be T,X,Y (frame, image pixels), X,Y or auto:K, "
                f"got {text!r}"
            )
        return cls(int(first), QuerySpec.parse(rest))


def has_frame(text: str) -> bool:
    """Return whether a query names a frame, as only those in clips do."""
    return ":" not in text and text.count(",") == 2
