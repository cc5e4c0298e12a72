"""What the keys have in common that a query looks at, told by where they lie."""

import numpy as np
import torch
from jaxtyping import Bool, Int

from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.models.blocks import Reach

SAMPLED = 32  # queries whose keys are looked at

Cells = Int[np.ndarray, "keys 3"]
"""Frame, row and column of some keys."""

OTHER = "mask"
"""What a query has in common with its keys where they have no shape of a name."""


def named(reach: Reach, query_axis: Axis, key_axis: Axis) -> Reach:
    """Return a reach that is called by the shape which the keys of every query have.

    | kind           | the keys that a query looks at                                  |
    |----------------|-----------------------------------------------------------------|
    | frame          | all of its own frame                                            |
    | place          | those at its own place, in every frame                          |
    | row and column | those of its own row and of its own column                      |
    | row, column    | those of its own row, or of its own column                      |
    | window         | a box of neighbors                                              |
    | grid           | every n-th one down and across                                  |
    | mask           | others                                                          |

    Tokens without a place are not looked at.
    """
    if key_axis.grid is None or not query_axis.placed:
        return reach
    keys = _cells(key_axis)
    shape = key_axis.grid.shape
    own = _cells(query_axis) if query_axis == key_axis else None
    sampled = np.unique(np.linspace(0, query_axis.placed - 1, SAMPLED).astype(int))
    seen = reach.sees(torch.from_numpy(sampled))[:, : key_axis.placed].numpy()
    kinds = [
        _kind(keys, row, shape, None if own is None else own[query])
        for query, row in zip(sampled, seen, strict=True)
    ]
    known = set().union(*kinds)
    kind = next((name for name in KINDS if name in known and all(name in k for k in kinds)), OTHER)
    return Reach(kind, reach.query, reach.key)


KINDS = ("frame", "place", "row and column", "row", "column", "window", "grid")
"""In the order in which they are asked: a row is a box, too."""


def _kind(
    keys: Cells,
    seen: Bool[np.ndarray, " keys"],
    shape: tuple[int, int, int],
    own: Int[np.ndarray, " 3"] | None,
) -> set[str]:
    """Return all kinds that the keys of one query are."""
    cells = keys[seen]
    if not len(cells):
        return set(KINDS)
    found = set()
    if own is not None:
        same = keys == own
        if shape[0] > 1 and np.array_equal(seen, same[:, 0]):
            found.add("frame")
        if shape[0] > 1 and np.array_equal(seen, same[:, 1] & same[:, 2]):
            found.add("place")
        of_frame = same[:, 0]
        if np.array_equal(seen, of_frame & (same[:, 1] | same[:, 2])):
            found.add("row and column")
        if np.array_equal(seen, of_frame & same[:, 1]) and shape[1] > 1:
            found.add("row")
        if np.array_equal(seen, of_frame & same[:, 2]) and shape[2] > 1:
            found.add("column")
    steps = [step for side in range(3) if (step := _step(cells[:, side])) is not None]
    if len(steps) == 3 and len(cells) == np.prod([len(set(cells[:, s])) for s in range(3)]):
        found.add("window" if max(steps) <= 1 else "grid")
    return found


def _step(values: Int[np.ndarray, " keys"]) -> int | None:
    """Return how far evenly spaced numbers lie apart, 0 where there is one; None if unevenly."""
    distances = set(np.diff(np.unique(values)).tolist())
    if len(distances) > 1:
        return None
    return distances.pop() if distances else 0


def _cells(axis: Axis) -> Cells:
    assert axis.grid is not None
    cells = np.arange(axis.placed) if axis.cells is None else axis.cells
    return np.stack(np.unravel_index(cells, axis.grid.shape), axis=1)
