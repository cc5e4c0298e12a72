"""Windows of a picture, or chunks of its queries, that were computed apart: put together."""

from dataclasses import replace

import torch
from torch import Tensor

from nonlocal_lens.analysis.tracing.head import Head, UnreadableError
from nonlocal_lens.models.blocks import Reach


def chunks(each: list[Head]) -> Head:
    """Put chunks of queries together that look at the same keys."""
    first = each[0]
    for other in each[1:]:
        if not torch.allclose(other.key, first.key, rtol=1e-5, atol=1e-6):
            raise UnreadableError("its queries look at the same keys in different ways")
    reach = None
    if first.reach is not None:
        if any(h.reach is None or not h.reach.key.equal(first.reach.key) for h in each):
            raise UnreadableError("a mask of its keys is another one for other queries")
        reach = replace(first.reach, query=torch.cat([h.reach.query for h in each if h.reach]))
    return _joined(each, first.key, first.value, first.unary, first.key_from, reach)


def windows(each: list[Head]) -> Head:
    """Put windows together: every token attends in one only."""
    key_from = torch.cat([h.key_from for h in each if h.key_from is not None])
    query_from = torch.cat([h.query_from for h in each if h.query_from is not None])
    for side in (key_from, query_from):
        placed = side[side >= 0]
        if len(placed.unique()) < len(placed):
            raise UnreadableError("its windows overlap: a place is in several of them")
    labels: list[tuple[Tensor, Tensor]] = []
    next_label = 0
    for head in each:
        if head.reach is None:
            query, key = (torch.zeros(len(x), 1, dtype=torch.long) for x in (head.query, head.key))
        else:
            query, key = head.reach.query, head.reach.key
        top = int(max(query.max(), key.max())) + 1
        labels.append(tuple(torch.where(x < 0, x, x + next_label) for x in (query, key)))  # type: ignore[arg-type]
        next_label += top
    width = max(query.shape[1] for query, _ in labels)
    reach = Reach(
        "window",
        torch.cat([_wide(query, width, -1) for query, _ in labels]),
        torch.cat([_wide(key, width, -2) for _, key in labels]),
    )
    values = [h.value for h in each if h.value is not None]
    unaries = [h.unary for h in each if h.unary is not None]
    return _joined(
        each,
        torch.cat([h.key for h in each]),
        torch.cat(values) if len(values) == len(each) else None,
        torch.cat(unaries) if len(unaries) == len(each) else None,
        key_from,
        reach,
    )


def _wide(labels: Tensor, width: int, value: int) -> Tensor:
    return torch.nn.functional.pad(labels, (0, width - labels.shape[1]), value=value)


def _joined(
    each: list[Head],
    key: Tensor,
    value: Tensor | None,
    unary: Tensor | None,
    key_from: Tensor | None,
    reach: Reach | None,
) -> Head:
    """Return one head of all queries; of the rows that prove it, some from every part."""
    first = each[0]
    per_part = max(1, -(-32 // len(each)))
    chosen = each if len(each) <= 32 else [each[i * len(each) // 32] for i in range(32)]
    starts = dict(zip(map(id, each), _starts([len(h.query) for h in each]), strict=True))
    key_starts = dict(zip(map(id, each), _starts([len(h.key) for h in each]), strict=True))
    probes, own = [], []
    for head in chosen:
        some = torch.linspace(0, len(head.probes) - 1, min(per_part, len(head.probes))).long()
        probes.append(head.probes[some] + starts[id(head)])
        rows = head.own[some]
        if len(key) != rows.shape[1]:
            wide = rows.new_zeros(len(rows), len(key))
            at = key_starts[id(head)]
            wide[:, at : at + rows.shape[1]] = rows
            rows = wide
        own.append(rows)
    froms = [h.query_from for h in each if h.query_from is not None]
    return replace(
        first,
        query=torch.cat([h.query for h in each]),
        key=key,
        unary=unary,
        value=value,
        reach=reach,
        query_from=torch.cat(froms) if len(froms) == len(each) else None,
        key_from=key_from,
        probes=torch.cat(probes),
        own=torch.cat(own),
        coupling="coupled" if first.coupling == "pairwise" else first.coupling,
        error=max(h.error for h in each),
        made_by=tuple(dict.fromkeys(made for h in each for made in h.made_by)),
    )


def _starts(lengths: list[int]) -> list[int]:
    return [sum(lengths[:at]) for at in range(len(lengths))]
