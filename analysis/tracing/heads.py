"""From softmaxes that were found to heads: what a record holds, but for where tokens lie.

A softmax is computed for many groups at a time: pictures of a batch, windows, heads. Which is which
the tokens tell. Groups of the same tokens are heads; those of other tokens of one picture are its
windows, or chunks of its queries, and are put together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nonlocal_lens.analysis.tracing.attended import Attended, Part, Refused, Softmax
from nonlocal_lens.models.blocks import Reach

Pictures = Callable[[Int[Tensor, "..."]], Int[Tensor, "..."]]
"""Where tokens came from -> which picture of the batch that is, -1 for none of them."""

SOFTMAX = "the output of its softmax"
FUSED = "rows computed from the operands of its fused attention, which lead to its output"
PRODUCT = "rows of its products of queries and keys, which lead to its output"
ROUNDING = 1e-4  # a mean query shorter than this, relative, is one that was subtracted


@dataclass(frozen=True, eq=False)
class Head:
    """What one head of one block did on one picture, and a few rows of its weights as proof.

    Fields that `AttentionRecord` has, too, mean the same. Where tokens came from is None if nobody
    told.
    """

    block: str
    call: int
    head: int | None
    form: str
    coupling: str
    scale: float
    query: Float[Tensor, "queries channels"]
    key: Float[Tensor, "keys channels"]
    probes: Int[Tensor, " probes"]
    own: Float[Tensor, "probes keys"]
    unary: Float[Tensor, " keys"] | None = None
    pairwise_gain: float = 1.0
    whitened: bool = True
    reach: Reach | None = None
    value_norm: Float[Tensor, " keys"] | None = None
    query_from: Int[Tensor, " queries"] | None = None
    key_from: Int[Tensor, " keys"] | None = None
    picture: int = 0
    precision: torch.dtype = torch.float32
    fused: str = ""
    error: float = 0.0
    said: tuple[str, ...] = field(default=())
    made_by: tuple[tuple[int, int], ...] = ()  # number of each operation, and the group in it

    @property
    def how(self) -> str:
        """What its rows are compared with."""
        if self.coupling == "unnormalized":
            return PRODUCT
        return FUSED if self.fused else SOFTMAX


@dataclass(frozen=True, eq=False)
class _Group:
    """What one softmax, or a sum of two, did in one group."""

    pairwise: Softmax | None
    unary: Softmax | None
    gain: float
    at: int  # which group of the pairwise one, or of the unary one where there is no other
    attended: Attended
    said: tuple[str, ...]
    whitened: bool

    @property
    def main(self) -> Softmax:
        """The softmax that tells the tokens."""
        softmax = self.pairwise or self.unary
        assert softmax is not None  # there is one at least
        return softmax

    @property
    def tokens(self) -> tuple[bytes, ...] | None:
        """What tells whether other groups have the same tokens; None if nobody knows."""
        logits = self.main.logits
        sides = [x for x in (logits.query_from, logits.key_from) if x is not None]
        if not sides:
            return None
        return tuple(x[self.at].cpu().numpy().tobytes() for x in sides)

    @property
    def keys_alone(self) -> bytes:
        """What tells whether other groups have the same keys."""
        key_from = self.main.logits.key_from
        return b"" if key_from is None else key_from[self.at].cpu().numpy().tobytes()


def heads(
    found: Sequence[Attended], pictures: Pictures | None = None
) -> tuple[list[Head], list[Refused]]:
    """Return every head of every block, in the order in which they attended.

    Args:
        found: What `Computation` found.
        pictures: Tells pictures of a batch apart; where it is None, there is but one.
    """
    blocks: dict[tuple[str, int, int], list[Attended]] = {}
    for attended in found:
        blocks.setdefault((attended.module, attended.call, attended.depth), []).append(attended)
    times: dict[str, int] = {}
    result, refused = [], []
    for (module, _, _), together in blocks.items():
        call = times.get(module, 0)
        times[module] = call + 1
        try:
            groups = [group for attended in together for group in _groups(attended)]
            for one_kind in _alike(groups):
                new = _heads(module, call, one_kind, pictures)
                times[module] = max(times[module], *(head.call + 1 for head in new))
                result += new
        except _UnreadableError as error:
            refused.append(Refused(module, call, str(error)))
    return result, refused


class _UnreadableError(ValueError):
    """Weights that no record can hold."""


def _groups(attended: Attended) -> list[_Group]:
    parts = attended.parts
    if not any(part.mixed for part in parts):
        if len(parts) == 1:
            return _of_one(parts[0], attended, ())
        vectors = [part for part in parts if _is_alike_for_all(part.softmax)]
        others = [part for part in parts if part not in vectors]
        if len(vectors) == len(others) == 1:
            return _of_two(others[0], vectors[0], attended)
        said = "its weights are added to those of others before they meet the values"
    else:
        said = "its heads are mixed after the softmax: these are the weights before"
    return [
        group for part in parts for group in _of_one(part._replace(number=1.0), attended, (said,))
    ]


def _of_one(part: Part, attended: Attended, said: tuple[str, ...]) -> list[_Group]:
    softmax = part.softmax
    if abs(part.number - 1) > 1e-6:
        raise _UnreadableError(
            f"its weights are multiplied by {part.number:.6g}: rows that add up to that are no "
            "known kind"
        )
    count = softmax.own.shape[0]
    if softmax.logits.is_vector:
        return [_Group(None, softmax, 1.0, at, attended, said, True) for at in range(count)]
    return [_Group(softmax, None, 1.0, at, attended, said, True) for at in range(count)]


def _of_two(pairwise: Part, unary: Part, attended: Attended) -> list[_Group]:
    if abs(unary.number - 1) > 1e-6:
        raise _UnreadableError(
            f"its unary weights are multiplied by {unary.number:.6g}, beside pairwise ones"
        )
    count = len(pairwise.softmax.own)
    if len(unary.softmax.own) not in (1, count):
        raise _UnreadableError("its unary weights are those of other heads than its pairwise ones")
    return [
        _Group(pairwise.softmax, unary.softmax, pairwise.number, at, attended, (), True)
        for at in range(count)
    ]


def _is_alike_for_all(softmax: Softmax) -> bool:
    return softmax.logits.is_vector or not softmax.logits.rows


def _alike(groups: list[_Group]) -> list[list[_Group]]:
    """Sort groups by what they need to be put together: channels and kind."""
    kinds: dict[tuple[object, ...], list[_Group]] = {}
    for group in groups:
        logits = group.main.logits
        kind = (
            group.pairwise is None,
            group.unary is None,
            round(group.gain, 6),
            logits.query.shape[2],
            round(logits.scale, 6),
        )
        kinds.setdefault(kind, []).append(group)
    return list(kinds.values())


def _heads(block: str, call: int, groups: list[_Group], pictures: Pictures | None) -> list[Head]:
    """Put groups of the same tokens side by side, as heads, and the others together."""
    if groups[0].tokens is None:
        count = len(groups)
        return [
            replace(_head(block, call, [group]), head=at if count > 1 else None)
            for at, group in enumerate(groups)
        ]
    by_tokens: dict[tuple[bytes, ...] | None, list[_Group]] = {}
    for group in groups:
        by_tokens.setdefault(group.tokens, []).append(group)
    count = len(next(iter(by_tokens.values())))
    if any(len(same) != count for same in by_tokens.values()):
        raise _UnreadableError("some of its tokens attend in more heads than others")
    windows = list(by_tokens.values())
    of_pictures: dict[int, list[list[_Group]]] = {}
    for same in windows:
        of_pictures.setdefault(_picture(same[0], pictures), []).append(same)
    return [
        replace(
            _head(block, call + number, [same[at] for same in view]),
            head=at if count > 1 else None,
            picture=picture,
        )
        for picture, together in of_pictures.items()
        for number, view in enumerate(_views(together))
        for at in range(count)
    ]


def _views(windows: list[list[_Group]]) -> list[list[list[_Group]]]:
    """Sort windows into views of a picture: the same place queries once in each.

    There are several where a batch holds the picture more than once, flipped for example.
    """
    views: list[tuple[set[int], list[list[_Group]]]] = []
    for same in windows:
        query_from = same[0].main.logits.query_from
        ids = query_from[same[0].at].tolist() if query_from is not None else []
        places = {number for number in ids if number >= 0}
        for seen, view in views:
            if not seen & places:
                seen |= places
                view.append(same)
                break
        else:
            views.append((places, [same]))
    return [view for _, view in views]


def _picture(group: _Group, pictures: Pictures | None) -> int:
    """Return the picture of a group's tokens, the first where they have none."""
    logits = group.main.logits
    if pictures is None:
        return 0
    found = set()
    for side in (logits.query_from, logits.key_from):
        if side is not None:
            found |= set(pictures(side[group.at]).unique().tolist())
    found -= {-1}
    if len(found) > 1:
        raise _UnreadableError("tokens of several pictures attend to each other")
    return found.pop() if found else 0


def _head(block: str, call: int, groups: list[_Group]) -> Head:
    """Return one head, of one group or of several windows."""
    each = [_of_group(block, call, group) for group in groups]
    if len(each) == 1:
        return each[0]
    same_keys = len({group.keys_alone for group in groups}) == 1
    return _chunks(each) if same_keys else _windows(each)


def _of_group(block: str, call: int, group: _Group) -> Head:
    main, at = group.main, group.at
    logits = main.logits
    own = main.own[at].float()
    unary = None
    if group.unary is not None:
        shared = group.unary
        number = at if len(shared.own) > 1 else 0
        of_keys = (
            shared.logits.scale * shared.logits.query[number, :1] @ shared.logits.key[number].mT
        )
        unary = _cpu(of_keys[0])
        if group.pairwise is not None:
            own = group.gain * own + shared.own[number, :1].float()
    key, query = _cpu(logits.key[at]), _cpu(logits.query[at])
    norm = group.attended.value_norm
    if norm is not None:
        norm = _cpu(norm[at if len(norm) > 1 else 0])
    result = Head(
        block=block,
        call=call,
        head=None,
        form="embedded_gaussian",
        coupling="coupled",
        scale=logits.scale,
        query=query,
        key=key,
        probes=main.probes.cpu(),
        own=_cpu(own),
        value_norm=norm,
        query_from=None if logits.query_from is None else logits.query_from[at].cpu(),
        key_from=None if logits.key_from is None else logits.key_from[at].cpu(),
        reach=_reach(main, at),
        precision=max((logits.precision, main.dtype), key=lambda t: torch.finfo(t).eps),
        fused=main.fused,
        error=main.error,
        said=group.said,
        made_by=tuple(
            (softmax.number, at if len(softmax.own) > 1 else 0)
            for softmax in (group.pairwise, group.unary)
            if softmax is not None
        ),
    )
    if group.pairwise is None:
        count = key.shape[0]  # every place of the keys gets the same row
        return replace(
            result,
            form="query_independent",
            coupling="unary",
            scale=1.0,
            query=key.new_zeros(count, 0),
            key=key.new_zeros(count, 0),
            unary=unary,
            query_from=result.key_from,
        )
    if not main.normalized:
        count = key.shape[0]  # a record divides by it
        return replace(
            result, form="dot_product", coupling="unnormalized", scale=logits.scale * count
        )
    plain = _is_whitened(result)
    if unary is not None:
        return replace(
            result, coupling="disentangled", unary=unary, pairwise_gain=group.gain, whitened=plain
        )
    return replace(result, coupling="pairwise" if plain and len(query) > 1 else "coupled")


def _is_whitened(head: Head) -> bool:
    """Return whether the logits have no part that is the same for all queries."""
    if head.reach is not None:
        return False
    mean = head.query.mean(dim=0)
    if mean.norm() > 1e-3 * head.query.norm() / len(head.query) ** 0.5:
        return False  # as of most: the exact answer takes longer
    unary = head.key @ mean
    unary = (unary - unary.mean()).norm() * len(head.query) ** 0.5
    query = head.query - mean
    key = head.key - head.key.mean(dim=0)
    pairwise = ((query.T @ query) * (key.T @ key)).sum().clamp_min(0).sqrt()
    return bool(unary <= ROUNDING * pairwise)


def _reach(softmax: Softmax, at: int) -> Reach | None:
    seen = softmax.logits.seen
    if seen is None:
        return None
    query, key = (side[at if len(side) > 1 else 0].cpu() for side in seen)
    return Reach("mask", query, key)


def _chunks(each: list[Head]) -> Head:
    """Put chunks of queries together that look at the same keys."""
    first = each[0]
    for other in each[1:]:
        if not torch.allclose(other.key, first.key, rtol=1e-5, atol=1e-6):
            raise _UnreadableError("its queries look at the same keys in different ways")
    reach = None
    if first.reach is not None:
        if any(h.reach is None or not h.reach.key.equal(first.reach.key) for h in each):
            raise _UnreadableError("a mask of its keys is another one for other queries")
        reach = replace(first.reach, query=torch.cat([h.reach.query for h in each if h.reach]))
    return _joined(each, first.key, first.value_norm, first.unary, first.key_from, reach)


def _windows(each: list[Head]) -> Head:
    """Put windows together: every token attends in one only."""
    key_from = torch.cat([h.key_from for h in each if h.key_from is not None])
    query_from = torch.cat([h.query_from for h in each if h.query_from is not None])
    for side in (key_from, query_from):
        placed = side[side >= 0]
        if len(placed.unique()) < len(placed):
            raise _UnreadableError("its windows overlap: a place is in several of them")
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
    norms = [h.value_norm for h in each if h.value_norm is not None]
    unaries = [h.unary for h in each if h.unary is not None]
    return _joined(
        each,
        torch.cat([h.key for h in each]),
        torch.cat(norms) if len(norms) == len(each) else None,
        torch.cat(unaries) if len(unaries) == len(each) else None,
        key_from,
        reach,
    )


def _wide(labels: Tensor, width: int, value: int) -> Tensor:
    return torch.nn.functional.pad(labels, (0, width - labels.shape[1]), value=value)


def _joined(
    each: list[Head],
    key: Tensor,
    value_norm: Tensor | None,
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
        value_norm=value_norm,
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


def _cpu(x: Tensor) -> Tensor:
    return x.detach().to("cpu", torch.promote_types(x.dtype, torch.float32), copy=True).contiguous()
