"""Where the tokens of both sides of attention lie on the picture, in its pixels."""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from nonlocal_lens.analysis.tracing.placed import Placed, Size, UnplacedError, place, scaled
from nonlocal_lens.analysis.tracing.provenance import Provenance
from nonlocal_lens.analysis.tracing.sources import PADDING, Ids


class Sides(NamedTuple):
    """Where queries lie, and where keys do."""

    query: Placed
    key: Placed


@dataclass(frozen=True, eq=False)
class Layout:
    """What a run's places are relative to: its first picture, and the image that this is made of.

    Args:
        provenance: Of the run.
        image_hw: Height and width of the image that the picture is made of by resizing; None if
            the picture is the image.
    """

    provenance: Provenance
    image_hw: Size | None = None
    _known: dict[bytes, Placed] = field(default_factory=dict)

    def sides(self, query_from: Ids | None, key_from: Ids | None) -> Sides:
        """Return where queries and keys lie that come from some sources.

        Queries that are padding are left out of the order: they are nobody's.

        Raises:
            UnplacedError: See `placed.place`; or they lie on another input than the first.
        """
        if query_from is None or key_from is None:
            raise UnplacedError("where its tokens come from is unknown")
        kept = np.flatnonzero(query_from != PADDING)
        if not kept.size:
            raise UnplacedError("all its queries are padding")
        query = self._place(query_from[kept])
        return Sides(replace(query, order=kept[query.order]), self._place(key_from))

    def _place(self, ids: Ids) -> Placed:
        """Return where tokens lie, in pixels of the image; those of all heads are the same."""
        key = ids.tobytes()
        if key not in self._known:
            input_hw, frames = self.provenance.first_picture
            found = place(self.provenance.sources, ids, input_hw, frames=frames)
            if found.source is not None and found.source[0] != 0:
                raise UnplacedError("its tokens lie on another input than the first picture")
            axis = scaled(found.axis, input_hw, self.image_hw or input_hw)
            self._known[key] = replace(found, axis=axis)
        return self._known[key]
