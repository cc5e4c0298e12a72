"""Where one query looks most, term by term, as a table."""

import torch

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.some_keys import WITHOUT_SINK, without_keys
from nonlocal_lens.analysis.token_words import word_of

MOST = 5
"""Keys that are told."""

WHOLE_WITHOUT_SINK = f"Whole, {WITHOUT_SINK}"


def strongest_keys(
    record: AttentionRecord, query: int, sink: int | None = None
) -> list[dict[str, str | float | None]]:
    """Return a row for each of the keys that one query gives most.

    Weights are in multiples of uniform; logits where they have signs. Where the block has a sink,
    a column has the whole row as it is without that key, divided by what is left of it; a block
    that adds two softmaxes has no such row.

    Args:
        record: The block.
        query: An index of its query axis.
        sink: Index of the key that is the block's sink; None where it has none.
    """
    keys = len(record.key)
    rows = {
        term.capitalize(): terms.attention(record, [query], term)[0] * keys for term in terms.TERMS
    }
    strongest = rows["Whole"].topk(min(MOST, keys)).indices.tolist()
    if sink is not None and record.coupling != "disentangled" and not record.signed:
        left = torch.full((keys,), torch.nan)
        others = torch.arange(keys) != sink
        left[others] = terms.attention(without_keys(record, [sink]), [query])[0].float() * (
            keys - 1
        )
        rows[WHOLE_WITHOUT_SINK] = left
    return [
        {
            "Key": word_of(record.key_axis, key),
            **{title: _rounded(row[key].item()) for title, row in rows.items()},
        }
        for key in strongest
    ]


def _rounded(weight: float) -> float | None:
    return round(weight, 3) if weight == weight else None
