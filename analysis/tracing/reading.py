"""Attention of any network, as records: each is proved, and its tokens lie where they came from."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import nn

from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.tracing.attended import Refused
from nonlocal_lens.analysis.tracing.computation import Computation
from nonlocal_lens.analysis.tracing.heads import Head, heads
from nonlocal_lens.analysis.tracing.layout import Layout
from nonlocal_lens.analysis.tracing.mode import Editor, run
from nonlocal_lens.analysis.tracing.placed import Size, UnplacedError
from nonlocal_lens.analysis.tracing.proof import UnprovedError
from nonlocal_lens.analysis.tracing.provenance import Provenance
from nonlocal_lens.analysis.tracing.records import record_of


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
        computation: What was found.
        layout: Where the tokens of that run lie.
        picture: Which picture of the batch is looked at.
    """
    found, refused = heads(computation.found, layout.provenance.pictures)
    records, sentences = [], [*computation.refused, *refused]
    for head in found:
        if head.picture != picture:
            continue
        try:
            at = min(number for number, _ in head.made_by)
            records.append(Read(at, _record(head, layout)))
        except (UnplacedError, UnprovedError) as error:
            sentences.append(Refused(head.block, head.call, str(error)))
    return records, list(dict.fromkeys(sentences))


def _record(head: Head, layout: Layout) -> AttentionRecord:
    """Return a head as a record whose tokens are in the order of their places."""
    query, key = layout.sides(
        None if head.query_from is None else head.query_from.numpy(),
        None if head.key_from is None else head.key_from.numpy(),
    )
    return record_of(_ordered(head, query.order, key.order), query.axis, key.axis)


def _ordered(head: Head, queries: Int[np.ndarray, " queries"], keys: np.ndarray) -> Head:
    """Return a head with some of its queries, and all of its keys, in another order."""
    new_place = np.full(len(head.query), -1)
    new_place[queries] = np.arange(len(queries))
    probes = torch.from_numpy(new_place)[head.probes]
    kept = probes >= 0
    of_query, of_key = torch.from_numpy(queries), torch.from_numpy(keys)
    reach = head.reach
    if reach is not None:
        reach = replace(reach, query=reach.query[of_query], key=reach.key[of_key])
    return replace(
        head,
        query=head.query[of_query],
        key=head.key[of_key],
        probes=probes[kept],
        own=head.own[kept][:, of_key],
        unary=None if head.unary is None else head.unary[of_key],
        value_norm=None if head.value_norm is None else head.value_norm[of_key],
        reach=reach,
        query_from=None if head.query_from is None else head.query_from[of_query],
        key_from=None if head.key_from is None else head.key_from[of_key],
    )
