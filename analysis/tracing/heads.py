"""From softmaxes that were found to heads: what a record holds, but for where tokens lie.

A softmax is computed for many groups at a time: pictures of a batch, windows, heads. Which is which
the tokens tell. Groups of the same tokens are heads; those of other tokens of one picture are its
windows, or chunks of its queries, and are put together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nonlocal_lens.analysis.tracing.attended import Attended, Part, Refused, Softmax, on_processor
from nonlocal_lens.analysis.tracing.head import Head, UnreadableError
from nonlocal_lens.analysis.tracing.logits import Logits
from nonlocal_lens.analysis.tracing.windows import chunks, windows
from nonlocal_lens.models.blocks import Reach

Pictures = Callable[[Int[Tensor, "..."]], Int[Tensor, "..."]]
"""Where tokens came from -> which picture of the batch that is, -1 for none of them."""

Copies = Callable[[str], int]
"""Name of a block -> how often it is given the same tokens; 0 if that is unknown."""

PicturesOf = Callable[[Int[Tensor, " tokens"]], set[int]]

ROUNDING = 1e-4  # a mean query shorter than this, relative, is one that was subtracted


@dataclass(frozen=True, eq=False)
class _Group:
    """What one softmax, or a sum of two, did in one group."""

    pairwise: Softmax | None
    unary: Softmax | None
    gain: float
    at: int  # which group of the pairwise one, or of the unary one where there is no other
    values: tuple[Float[Tensor, "keys channels"], ...] | None  # of every group
    said: tuple[str, ...]
    is_centered: bool = False  # whether the mean query may be 0

    @property
    def main(self) -> Softmax:
        """The softmax that tells the tokens."""
        softmax = self.pairwise or self.unary
        assert softmax is not None  # there is one at least
        return softmax

    @property
    def tokens(self) -> tuple[bytes, ...] | None:
        """What tells whether other groups have the same tokens; None if nobody knows."""
        tokens = self.main.logits.tokens
        return tokens[self.at] if tokens else None

    @property
    def keys_alone(self) -> bytes:
        """What tells whether other groups have the same keys."""
        keys_from = self.main.logits.keys_from
        return b"" if keys_from is None else keys_from[self.at].numpy().tobytes()


def heads(
    found: Sequence[Attended], pictures: Pictures | None = None, copies: Copies | None = None
) -> tuple[list[Head], list[Refused]]:
    """Return every head of every block, in the order in which they attended.

    Args:
        found: What `Computation` found.
        pictures: Tells pictures of a batch apart; where it is None, there is but one.
        copies: Tells how often a block is given the same tokens; where it is None, once.
    """
    pictures_of = None if pictures is None else _once(pictures)
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
                new = _heads(module, call, one_kind, pictures_of, copies)
                times[module] = max(times[module], *(head.call + 1 for head in new))
                result += new
        except UnreadableError as error:
            refused.append(Refused(module, call, str(error)))
    return result, refused


def _once(pictures: Pictures) -> PicturesOf:
    """Return what tells the pictures of tokens, and works them out once: most blocks ask alike."""
    known: dict[bytes, set[int]] = {}

    def of(tokens: Int[Tensor, " tokens"]) -> set[int]:
        key = tokens.numpy().tobytes()
        if key not in known:
            known[key] = set(pictures(tokens).unique().tolist())
        return known[key]

    return of


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
    softmax, values = part.softmax.kept, _values(attended)
    if abs(part.number - 1) > 1e-6:
        raise UnreadableError(
            f"its weights are multiplied by {part.number:.6g}: rows that add up to that are no "
            "known kind"
        )
    count = softmax.own.shape[0]
    if softmax.logits.is_vector:
        return [_Group(None, softmax, 1.0, at, values, said) for at in range(count)]
    centered = _are_centered(softmax.logits)
    return [_Group(softmax, None, 1.0, at, values, said, centered[at]) for at in range(count)]


def _of_two(pairwise: Part, unary: Part, attended: Attended) -> list[_Group]:
    if abs(unary.number - 1) > 1e-6:
        raise UnreadableError(
            f"its unary weights are multiplied by {unary.number:.6g}, beside pairwise ones"
        )
    count, values = len(pairwise.softmax.own), _values(attended)
    if len(unary.softmax.own) not in (1, count):
        raise UnreadableError("its unary weights are those of other heads than its pairwise ones")
    first, second = pairwise.softmax.kept, unary.softmax.kept
    centered = _are_centered(first.logits)
    return [
        _Group(first, second, pairwise.number, at, values, (), centered[at]) for at in range(count)
    ]


def _values(attended: Attended) -> tuple[Float[Tensor, "keys channels"], ...] | None:
    return None if attended.value is None else on_processor(attended.value).unbind()


def _are_centered(logits: Logits) -> list[bool]:
    """Return of which groups the mean query may be 0: a glance at all of them at once."""
    query = logits.query
    if logits.seen is not None:
        return [False] * len(query)
    length = query.norm(dim=(1, 2)) / query.shape[1] ** 0.5
    centered: list[bool] = (query.mean(dim=1).norm(dim=1) <= 1e-3 * length).tolist()
    return centered


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


def _heads(
    block: str,
    call: int,
    groups: list[_Group],
    pictures: PicturesOf | None,
    copies: Copies | None = None,
) -> list[Head]:
    """Put groups of the same tokens side by side, as heads, and the others together."""
    if groups[0].tokens is None:
        several = len(groups) > 1
        return [
            _head(block, call, [group], at if several else None) for at, group in enumerate(groups)
        ]
    by_tokens: dict[tuple[bytes, ...] | None, list[_Group]] = {}
    for group in groups:
        by_tokens.setdefault(group.tokens, []).append(group)
    count = len(next(iter(by_tokens.values())))
    if any(len(same) != count for same in by_tokens.values()):
        raise UnreadableError("some of its tokens attend in more heads than others")
    apart = list(by_tokens.values())
    times = 1 if count == 1 or copies is None else copies(block)
    if times != 1:
        if times != count:
            often = f"{times} times" if times else "more than once"
            raise UnreadableError(
                f"its input holds the same tokens {often}, as copies of one picture in a batch "
                "do: which of its groups are copies and which are heads is unknown"
            )
        apart, count = [[group] for same in apart for group in same], 1
    of_pictures: dict[int, list[list[_Group]]] = {}
    for same in apart:
        of_pictures.setdefault(_picture(same[0], pictures), []).append(same)
    return [
        _head(
            block,
            call + number,
            [same[at] for same in view],
            at if count > 1 else None,
            picture,
        )
        for picture, together in of_pictures.items()
        for number, view in enumerate(_views(together))
        for at in range(count)
    ]


def _views(windows: list[list[_Group]]) -> list[list[list[_Group]]]:
    """Sort windows into views of a picture: the same place queries once in each.

    There are several where a batch holds the picture more than once, flipped for example.
    """
    if len(windows) == 1:
        return [windows]
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


def _picture(group: _Group, pictures: PicturesOf | None) -> int:
    """Return the picture of a group's tokens, the first where they have none."""
    logits = group.main.logits
    if pictures is None:
        return 0
    found: set[int] = set()
    for side in (logits.query_from, logits.key_from):
        if side is not None:
            found |= pictures(side[group.at])
    found -= {-1}
    if len(found) > 1:
        raise UnreadableError("tokens of several pictures attend to each other")
    return found.pop() if found else 0


def _head(block: str, call: int, groups: list[_Group], head: int | None, picture: int = 0) -> Head:
    """Return one head, of one group or of several windows."""
    each = [_of_group(block, call, group, head, picture) for group in groups]
    if len(each) == 1:
        return each[0]
    same_keys = len({group.keys_alone for group in groups}) == 1
    return chunks(each) if same_keys else windows(each)


def _of_group(block: str, call: int, group: _Group, head: int | None, picture: int) -> Head:
    main, at = group.main, group.at
    logits, own, values = main.logits, main.rows[at], group.values
    key, query = logits.keys[at], logits.queries[at]
    query_from = None if logits.queries_from is None else logits.queries_from[at]
    key_from = None if logits.keys_from is None else logits.keys_from[at]
    form, coupling, scale, gain, unary = "embedded_gaussian", "coupled", logits.scale, 1.0, None
    reach, whitened = _reach(main, at), True
    if group.unary is not None:
        number = at if len(group.unary.own) > 1 else 0
        of_keys = group.unary.logits
        unary = (of_keys.scale * of_keys.query[number, :1] @ of_keys.key[number].mT)[0]
    if group.pairwise is None:  # every place of the keys gets the same row
        form, coupling, scale, query_from = "query_independent", "unary", 1.0, key_from
        key = query = key.new_zeros(len(key), 0)
    elif not main.normalized:  # a record divides by the number of keys
        form, coupling, scale = "dot_product", "unnormalized", logits.scale * len(key)
    else:
        plain = group.is_centered and _is_whitened(query, key)
        if group.unary is not None:
            coupling, gain, whitened = "disentangled", group.gain, plain
            own = gain * own + group.unary.own[number, :1]
        elif plain and len(query) > 1:
            coupling = "pairwise"
    return Head(
        block=block,
        call=call,
        head=head,
        form=form,
        coupling=coupling,
        scale=scale,
        query=query,
        key=key,
        probes=main.probes,
        own=own,
        unary=unary,
        pairwise_gain=gain,
        whitened=whitened,
        reach=reach,
        value=None if values is None else values[at if len(values) > 1 else 0],
        query_from=query_from,
        key_from=key_from,
        picture=picture,
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


def _is_whitened(query: Tensor, key: Tensor) -> bool:
    """Return whether the logits have no part that is the same for all queries."""
    mean = query.mean(dim=0)
    unary = key @ mean
    unary = (unary - unary.mean()).norm() * len(query) ** 0.5
    query = query - mean
    key = key - key.mean(dim=0)
    pairwise = ((query.T @ query) * (key.T @ key)).sum().clamp_min(0).sqrt()
    return bool(unary <= ROUNDING * pairwise)


def _reach(softmax: Softmax, at: int) -> Reach | None:
    seen = softmax.logits.seen
    if seen is None:
        return None
    query, key = (side[at if len(side) > 1 else 0] for side in seen)
    return Reach("mask", query, key)
