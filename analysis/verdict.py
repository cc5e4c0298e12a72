"""What the numbers say about degeneracy and about a sink, in a sentence each."""

from math import isnan, log2, nan

from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.parts import Restriction
from nonlocal_lens.analysis.statistics.sinks import SINK
from nonlocal_lens.analysis.token_words import cell_in_words, word_of

DEGENERATE, DEPENDENT = 0.1, 0.5
"""How much queries differ, over how much rows of the same width can differ: attention below the
first is called degenerate, from the second on query-dependent.

The measure, not the raw number, because that is small for wide rows whether or not they differ.
"""

NEARLY_UNIFORM_BITS = 0.02
"""Attention is called nearly uniform if its rows are narrower than uniform ones by less than this
on average."""

HARDLY_SELECTIVE_BITS = 0.5
"""Attention is called hardly selective below this selectivity: rows are then as wide as seven
tenths of all keys, and it matters little what they prefer."""

SINK_KINDS = {
    "no-operation": " and has next to nothing to add, as if the block did nothing (a no-operation)",
    "broadcast": " and adds the same to every query (a broadcast)",
}
"""What a sink does, in words that go on after how much it takes."""

ROUNDING_BITS = 1e-9


def verdict(
    *,
    query_information_bits: float,
    entropy_bits: float,
    queries: int,
    keys: int,
    cosine_distance: float,
    shuffled_cosine_distance: float,
    sink_share: float = nan,
    token_share: float = 0.0,
    restriction: Restriction | None = None,
) -> str:
    """Return one sentence on how degenerate attention is.

    The query information is compared with its bound for rows of the given entropy: neither more
    than log2(keys) - entropy, nor more than log2(queries). Where weights have signs there is no
    information, and the cosine distance is compared with that of rows with shuffled keys. Where
    queries do not look at all keys, that they do not is no information: the rest is judged. What
    is said comes with the selectivity, because a share of next to nothing is nothing. Of a sink
    `sink_sentence` tells.

    Args:
        query_information_bits: NaN where weights have signs.
        entropy_bits: Mean over rows; NaN where weights have signs.
        queries: Number of query positions.
        keys: Number of key positions.
        cosine_distance: Of rows; NaN where all weights are 0.
        shuffled_cosine_distance: Likewise, of the rows with shuffled keys.
        sink_share: Largest share of the mean row; NaN where weights have signs.
        token_share: Share of all attention on keys that are no places.
        restriction: How queries are restricted, if they are.
    """
    if isnan(cosine_distance):
        return "There is nothing to judge: all weights are 0."
    known, width = restriction[1:] if restriction else (0.0, log2(keys))
    selectivity = width - entropy_bits
    hardly = selectivity < HARDLY_SELECTIVE_BITS
    if log2(queries) - known < ROUNDING_BITS:
        return "There is nothing to judge: a single query cannot differ from others."
    if isnan(query_information_bits):
        share = cosine_distance / shuffled_cosine_distance if shuffled_cosine_distance else 0.0
        measured = (
            f"the cosine distance of rows is {cosine_distance:.3f}, "
            f"{share:.0%} of that of rows with shuffled keys"
        )
    else:
        query_information_bits = max(query_information_bits - known, 0.0)
        possible = min(selectivity, log2(queries) - known)
        if possible < NEARLY_UNIFORM_BITS:
            return f"Degenerate: every query looks everywhere alike ({entropy_bits:.2f} bits wide)."
        share = query_information_bits / possible
        within = f"within its own {restriction.kind} " if restriction else ""
        measured = (
            f"{within}the query tells {query_information_bits:.3f} bits about where it looks, "
            f"{share:.0%} of what it could for rows as wide as these, "
            f"which are {selectivity:.2f} bits selective"
        )
    if token_share >= SINK and not is_sink(sink_share, keys):
        measured += f"; {token_share:.0%} of all attention lies on tokens that are no places"
    little = ", and hardly prefer any" if hardly else ""
    if share >= DEPENDENT:
        return f"Query-dependent: different queries look at different places{little} ({measured})."
    if share >= DEGENERATE:
        return f"Partly degenerate: queries look at largely the same places{little} ({measured})."
    return f"Degenerate: all queries look at nearly the same places{little} ({measured})."


def is_sink(share: float, keys: int) -> bool:
    """Return whether the key that gets most attention is a sink: not so a single key."""
    return share >= SINK and keys > 1


def sink_sentence(share: float, keys: int, key: str, kind: str) -> str:
    """Return one sentence on the sink: which key, how much it takes, what it does; "" for none.

    Args:
        share: Largest share of the mean row; NaN where weights have signs.
        keys: Number of keys.
        key: Which one has it, in words: `key_in_words`.
        kind: What it does, see `analysis.statistics.sinks.sink_kind`.
    """
    if not is_sink(share, keys):
        return ""
    does = SINK_KINDS.get(kind, "")
    return f"{key[:1].upper()}{key[1:]} is a sink: it takes {share:.0%} of all attention{does}."


def key_in_words(axis: Axis, index: int) -> str:
    """Return where a key is, in image pixels and by its cell, or what it is called."""
    name, position = axis.name(index), axis.cell(index)
    if position is None or axis.grid is None:
        return f"the token {name!r}"
    frame = f", frame {axis.grid.cell(position).frame}" if axis.grid.frames > 1 else ""
    return f"the key at {word_of(axis, index)} ({cell_in_words(axis, index)}{frame})"
