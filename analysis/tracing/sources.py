"""Where data comes from: places of the input, parameters by name, or what is known of it at all.

Every source has a number. Those from 0 up are places, negative ones stand for a sentence. Places of
a lattice take no memory however many they are: where they lie is computed from their number.
"""

from bisect import bisect_right
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

NOTHING = -1
"""Number of what comes from no source: zeros, positions that were computed, random numbers."""

PADDING = -2
"""Number of what is padded: cells beyond the picture."""

SPREAD = -3
"""Number of tokens whose channels come from different places."""

INPUT, PICTURE, FRAME, ROW, COLUMN = range(5)
COORDINATES = 5
"""Which input, which picture of its batch, frame, y and x, all in its pixels and frames."""
SIZE = slice(5, 8)
"""How large the cells are: in frames, down and across."""

Ids = Int[np.ndarray, "..."]


class Note(NamedTuple):
    """What is known of a source that is no place.

    A "name" is a token's own: "class". A "weak" name is that of a parameter which is added to
    tokens but seldom one itself, as positions are. "padding" is a cell beyond the picture. "mixed"
    says how places were mixed, "unknown" which operation has no rule.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class Side:
    """Cells along one dimension: their middles lie at first, first + step and so on.

    Those from `start` up to, and without, `stop` lie on the input. The rest is padding.
    """

    coordinate: int  # PICTURE, FRAME, ROW or COLUMN
    first: float
    step: float
    count: int
    start: int
    stop: int

    @classmethod
    def whole(cls, coordinate: int, first: float, step: float, count: int) -> "Side":
        """Return cells of which none is padding."""
        return cls(coordinate, first, step, count, 0, count)

    def sampled(self, first: float, step: float, count: int) -> "Side":
        """Return the cells whose middles lie at first, first + step and so on of these cells."""
        start, stop = 0, count  # what samples beyond the cells with padding of its own sees some
        if self.start > 0 or self.stop < self.count:
            middles = first + step * np.arange(count)
            inside = (middles >= self.start - 0.5) & (middles <= self.stop - 0.5)
            on_input = np.flatnonzero(inside)
            start, stop = (on_input[0], on_input[-1] + 1) if on_input.size else (0, 0)
        moved = self.first + self.step * first
        return Side(self.coordinate, moved, self.step * step, count, int(start), int(stop))


class Block(NamedTuple):
    """Places that were made together."""

    fixed: tuple[float, ...]  # coordinates and sizes, where no side says otherwise
    sides: tuple[Side, ...]  # of a lattice
    rows: Float[np.ndarray, "place 8"] | None  # of places that lie anyhow


class Sources:
    """All sources that a run has met."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._starts: list[int] = []
        self._next = 0
        padding = Note("padding", "padding")
        spread = Note("mixed", "its channels come from different places")
        self._known: dict[Any, int] = {(padding, 1): -PADDING, (spread, 1): -SPREAD}
        self._notes = [(padding, 1), (spread, 1)]  # each with how many numbers it stands for
        self._note_ends = [1, 2]

    def __len__(self) -> int:
        return len(self._known)

    def lattice(self, fixed: tuple[float, ...], sides: tuple[Side, ...]) -> int:
        """Return the number of a lattice's first place; the rest follows row by row."""
        return self._block((fixed, sides), Block(fixed, sides, None), prod(s.count for s in sides))

    def anyhow(self, rows: Float[np.ndarray, "place 8"]) -> int:
        """Return the number of the first of some places; the rest follows."""
        rows = np.ascontiguousarray(rows)
        return self._block(rows.tobytes(), Block((), (), rows), len(rows))

    def note(self, kind: str, text: str) -> int:
        """Return the number of a source that is no place."""
        return -self._noted(Note(kind, text), 1)

    def names(self, text: str, count: int) -> Int[np.ndarray, " count"]:
        """Return the numbers of several tokens of one name, which are counted from 1."""
        return -self._noted(Note("name", text), count) - np.arange(count)

    def of(self, number: int) -> Note:
        """Return what is known of a source that is no place."""
        if number == NOTHING:
            return Note("nothing", "")
        index = bisect_right(self._note_ends, -number - 2)
        note, count = self._notes[index]
        if count == 1:
            return note
        return Note(note.kind, f"{note.text} {-number - 2 - self._note_ends[index] + count + 1}")

    def _noted(self, note: Note, count: int) -> int:
        """Return minus the first number of a note."""
        if (note, count) not in self._known:
            start = self._note_ends[-1]
            self._notes.append((note, count))
            self._note_ends.append(start + count)
            self._known[note, count] = start + 2
        return self._known[note, count]

    def kinds(self, ids: Ids) -> set[str]:
        """Return which kinds of sources there are among some, "place" one of them."""
        numbers = np.unique(ids[ids < 0])
        kinds = {self.of(int(number)).kind for number in numbers}
        return kinds | {"place"} if (ids >= 0).any() else kinds

    def rows(self, ids: Ids) -> Float[np.ndarray, "... 8"]:
        """Return where places lie, and how large they are; NaN for what is no place."""
        result = np.full((*ids.shape, 8), np.nan)
        placed = ids >= 0
        numbers = ids[placed]
        if not numbers.size:
            return result
        found = np.empty((numbers.size, 8))
        block = np.searchsorted(self._starts, numbers, side="right") - 1
        for index in np.unique(block):
            chosen = block == index
            found[chosen] = self._rows_of(int(index), numbers[chosen] - self._starts[index])
        result[placed] = found
        return result

    def on_one_lattice(self, ids: Ids) -> bool:
        """Return whether places are all of one lattice, so that their numbers tell steps."""
        ends = [bisect_right(self._starts, int(end)) - 1 for end in (ids.min(), ids.max())]
        return ends[0] == ends[1] and self._blocks[ends[0]].rows is None

    def canonical(self, ids: Ids) -> Ids:
        """Return sources of which those that lie at the same place have the same number."""
        placed = ids[ids >= 0]
        if not placed.size:
            return ids
        if self.on_one_lattice(placed):
            return ids
        numbers, which = np.unique(placed, return_inverse=True)
        places = np.round(self.rows(numbers)[:, :COORDINATES], 4)
        _, first, same = np.unique(places, axis=0, return_index=True, return_inverse=True)
        result = ids.copy()
        result[ids >= 0] = numbers[first[same.ravel()]][which.ravel()]
        return result

    def bounds(self, ids: Ids) -> Float[np.ndarray, "two 8"]:
        """Return the least and the largest coordinates of the lattices that places are part of."""
        starts = {bisect_right(self._starts, int(number)) - 1 for number in np.unique(ids)}
        rows = [self._rows_of(index, self._corners(index)) for index in starts]
        return np.stack([np.concatenate(rows).min(0), np.concatenate(rows).max(0)])

    def _corners(self, index: int) -> Int[np.ndarray, " corners"]:
        block = self._blocks[index]
        if block.rows is not None:
            return np.arange(len(block.rows))
        inside = [np.array([side.start, side.stop - 1]) for side in block.sides]
        return _flat(inside, block.sides)

    def _block(self, key: Any, block: Block, count: int) -> int:
        if key not in self._known:
            self._known[key] = self._next
            self._starts.append(self._next)
            self._blocks.append(block)
            self._next += count
        return self._known[key]

    def _rows_of(self, index: int, local: Int[np.ndarray, " places"]) -> Float[np.ndarray, "n 8"]:
        block = self._blocks[index]
        if block.rows is not None:
            chosen: Float[np.ndarray, "n 8"] = block.rows[local]
            return chosen
        rows = np.tile(np.array(block.fixed), (len(local), 1))
        for side in reversed(block.sides):
            local, at = np.divmod(local, side.count)
            rows[:, side.coordinate] = side.first + side.step * at
            if side.coordinate >= FRAME:
                rows[:, side.coordinate + 3] = abs(side.step)
        return rows


def _flat(
    along: list[Int[np.ndarray, " n"]], sides: tuple[Side, ...]
) -> Int[np.ndarray, " places"]:
    """Return the numbers, within a lattice, of all places with given indices along its sides."""
    flat = np.zeros(1, dtype=np.int64)
    for at, side in zip(along, sides, strict=True):
        flat = (flat[:, None] * side.count + at).ravel()
    return flat
