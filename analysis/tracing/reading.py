"""Attention of any network, as records: each is proved, and its tokens lie where they came from."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.terms import stacked
from nonlocal_lens.analysis.tracing.attended import Refused
from nonlocal_lens.analysis.tracing.computation import Computation
from nonlocal_lens.analysis.tracing.head import Head
from nonlocal_lens.analysis.tracing.heads import heads
from nonlocal_lens.analysis.tracing.layout import Layout
from nonlocal_lens.analysis.tracing.mode import Editor, run
from nonlocal_lens.analysis.tracing.placed import Size, UnplacedError
from nonlocal_lens.analysis.tracing.proof import UnprovedError
from nonlocal_lens.analysis.tracing.provenance import Provenance
from nonlocal_lens.analysis.tracing.records import records_of
from nonlocal_lens.analysis.tracing.sources import Ids


@dataclass(frozen=True, eq=False)
class Traced:
    """What a network did on one input.

    Attributes:
        output: The network's own, bit for bit.
        records: One for every head of every block, in the order in which they ran.
        refused: What attends and could not be read, each with a sentence that says why.
    """

    output: Any
    records: tuple[AttentionRecord, ...]
    refused: tuple[Refused, ...]


class Read(NamedTuple):
    """A record, and when its block attended: which of the operations that may weight values."""

    at: float
    record: AttentionRecord


def trace(
    network: nn.Module,
    *args: Any,
    image_hw: Size | None = None,
    editor: Editor | None = None,
    picture: int = 0,
    **kwargs: Any,
) -> Traced:
    """Run a network and return a proved record of all attention in it.

    Args:
        network: Any module; it comes back as it was.
        args: Its inputs. The first picture or clip among them is the one that records are of.
        image_hw: Height and width of the picture that the input is made of by resizing, if it has
            been: places are given in its pixels.
        picture: Which picture of the batch is looked at.
        editor: Runs operations in another way, see `analysis.tracing.mode`.
        kwargs: Its inputs by name.
    """
    provenance = Provenance()
    computation = Computation(provenance.lookup)
    output = run(network, args, kwargs, observers=[provenance, computation], editor=editor)
    found, refused = read(computation, Layout(provenance, image_hw), picture)
    return Traced(output, tuple(one.record for one in found), tuple(refused))


def read(
    computation: Computation, layout: Layout, picture: int = 0
) -> tuple[list[Read], list[Refused]]:
    """Return the records of all attention that was found in a run, and what could not be read.

    Args:
        computation: What was found; it is taken from there.
        layout: Where the tokens of that run lie.
        picture: Which picture of the batch is looked at.
    """
    (found,), refused = read_each(computation, layout, [picture])
    return found, refused


def read_each(
    computation: Computation, layout: Layout, pictures: Sequence[int]
) -> tuple[list[list[Read]], list[Refused]]:
    """Return what `read` does, of several pictures of one batch."""
    found, refused = heads(
        computation.taken(), layout.provenance.pictures, layout.provenance.copies
    )
    sentences = [*computation.refused, *refused]
    left = {
        picture: deque(head for head in found if head.picture == picture) for picture in pictures
    }
    del found
    of_pictures = []
    for picture in pictures:
        records: list[Read] = []
        for alike in _side_by_side(_taken(left[picture])):
            block, call = alike[0].block, alike[0].call
            try:
                query, key = layout.sides(*_from(alike[0]))
            except UnplacedError as error:
                sentences.append(Refused(block, call, str(error)))
                continue
            made = records_of(_ordered(alike, query.order, key.order), query.axis, key.axis)
            for head, record in zip(alike, made, strict=True):
                if isinstance(record, UnprovedError):
                    sentences.append(Refused(block, call, str(record)))
                else:
                    records.append(Read(min(number for number, _ in head.made_by), record))
        of_pictures.append(records)
    layout.provenance.end()
    return of_pictures, list(dict.fromkeys(sentences))


def _taken(heads: deque[Head]) -> Iterator[Head]:
    """Yield heads and keep none: one block's memory is free for the records of the next."""
    while heads:
        yield heads.popleft()


def _side_by_side(found: Iterable[Head]) -> Iterator[list[Head]]:
    """Yield heads that one block computed at a time, of the same tokens and in the same way."""

    def kind(head: Head) -> tuple[object, ...]:
        tokens = tuple(None if ids is None else ids.tobytes() for ids in _from(head))
        shapes = head.query.shape, head.key.shape, head.own.shape
        return head.block, head.call, head.made_by[0][0], tokens, shapes, head.coupling

    for _, alike in groupby(found, kind):
        yield list(alike)


def _from(head: Head) -> tuple[Ids | None, Ids | None]:
    """Return where queries come from, and where keys do."""
    query_from, key_from = (
        None if ids is None else ids.numpy() for ids in (head.query_from, head.key_from)
    )
    return query_from, key_from


def _ordered(
    alike: list[Head], queries: Int[np.ndarray, " queries"], keys: Int[np.ndarray, " keys"]
) -> list[Head]:
    """Return heads with some of their queries, and all of their keys, in another order."""
    first = alike[0]
    new_place = np.full(len(first.query), -1)
    new_place[queries] = np.arange(len(queries))
    probes = torch.from_numpy(new_place)[first.probes]
    kept = probes >= 0
    probes = probes[kept]
    of_query, of_key = torch.from_numpy(queries), torch.from_numpy(keys)

    def moved(tensors: list[Tensor], order: Tensor) -> Sequence[Tensor]:
        return stacked(tensors).index_select(1, order).unbind()

    def moved_if_any(tensors: list[Tensor | None]) -> Sequence[Tensor | None]:
        there = [x for x in tensors if x is not None]
        of_one_shape = len({x.shape for x in there}) == 1
        all_there = of_one_shape and len(there) == len(tensors)
        return moved(there, of_key) if all_there else [None] * len(tensors)

    query = moved([head.query for head in alike], of_query)
    key = moved([head.key for head in alike], of_key)
    unary = moved_if_any([head.unary for head in alike])
    value = moved_if_any([head.value for head in alike])
    rows = stacked([head.own for head in alike])
    own = rows.flatten(0, 1).index_select(1, of_key).reshape(rows.shape)
    if not bool(kept.all()):
        own = own[:, kept]
    return [
        head.changed(
            query=query[at],
            key=key[at],
            probes=probes,
            own=own[at],
            unary=unary[at],
            value=value[at],
            reach=None
            if head.reach is None
            else replace(head.reach, query=head.reach.query[of_query], key=head.reach.key[of_key]),
            query_from=None,  # the sides tell
            key_from=None,
        )
        for at, head in enumerate(alike)
    ]
