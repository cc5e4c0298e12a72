"""One network captured and held against independent references: a row of the table."""

import gc
import warnings
from dataclasses import dataclass
from datetime import date
from time import perf_counter
from typing import Literal

import torch
from torch import Tensor

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.capture import recording
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.verify import oracle, places
from nonlocal_lens.analysis.verify.family import Family, Kind, Member, calibrated

Outcome = Literal["read", "in part", "refused", "wrong", "absent", "failed"]

LARGEST_ERROR = 1e-4
FARTHEST = 1
"""Cells that what moves most may lie from new pixels: features of neighbors overlap."""

ROWS = 3
RUNS = 3
NOTHING = "nothing in it sums values that a product of tokens weights"


@dataclass(frozen=True)
class Verified:
    """What came of a family: what was read, and how it agrees with references, or why not.

    Attributes:
        network: Name of the family's member.
        outcome: "read" if all attention was, "in part" if some was left out, "refused" if all was,
            "wrong" if what was read is not what the references say, "absent" if the library is not
            installed, "failed" if the network could not be built or run.
        blocks: Runs of blocks that gave records.
        heads: Records.
        error: Largest difference of a row from the network's own, over its largest weight.
        cells: How far from new pixels lay what they moved most, in cells of the first block that
            has places; None if none has.
        slowdown: Time of a capture over that of a forward pass.
        sentences: Why something was left out.
    """

    network: str
    kind: Kind
    library: str
    date: str
    outcome: Outcome
    blocks: int = 0
    heads: int = 0
    error: float | None = None
    cells: int | None = None
    slowdown: float | None = None
    sentences: tuple[str, ...] = ()


def verify(family: Family) -> Verified:
    """Build a member of a family, capture it, and hold what was read against references."""
    about = (family.name, family.kind, f"{family.library} {family.version}", str(date.today()))
    if family.version is None:
        return Verified(*about, "absent", sentences=(f"{family.library} is not installed",))
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            member = calibrated(family.build())
            return _held(member, about)
    except Exception as error:  # whatever a library raises
        why = str(error).strip().partition("\n")[0]
        return Verified(*about, "failed", sentences=(f"{type(error).__name__}: {why}",))
    finally:
        gc.collect()


def _held(member: Member, about: tuple[str, Kind, str, str]) -> Verified:
    records, refusals = captured(member)
    if not records:
        return Verified(*about, "refused", sentences=refusals or (NOTHING,))
    error = error_of_rows(member, records)
    times: list[float] = []

    def again(changed: Member) -> list[AttentionRecord]:
        start = perf_counter()
        found, _ = captured(changed)
        times.append(perf_counter() - start)
        return found

    cells = places.farthest(member, records, again)
    if not times:
        again(member)
    is_right = error <= LARGEST_ERROR and (cells is None or cells <= FARTHEST)
    outcome: Outcome = "wrong" if not is_right else "in part" if refusals else "read"
    return Verified(
        *about,
        outcome,
        blocks=len({(record.block, record.call) for record in records}),
        heads=len(records),
        error=float(f"{error:.2g}"),
        cells=cells,
        slowdown=float(f"{min(times) / forward_time(member):.3g}"),
        sentences=refusals,
    )


def captured(member: Member) -> tuple[list[AttentionRecord], tuple[str, ...]]:
    """Return the records of a network on its input, and the sentences of what was left out."""
    height, width = member.picture.shape[-2:]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with torch.no_grad(), recording(member.network, (height, width)) as records:
            member()
    sentences = [str(one.message) for one in said if "left out: " in str(one.message)]
    return list(records), tuple(sentences)


def error_of_rows(member: Member, records: list[AttentionRecord]) -> float:
    """Return how far rows of records are from those of the network's own softmaxes, relative."""
    rows: list[Tensor] = []
    for record in records:
        queries = torch.linspace(0, len(record.query) - 1, ROWS).long().unique()
        if record.coupling in ("disentangled", "pairwise"):
            rows += list(terms.attention(record, queries, "pairwise"))
        if record.coupling in ("disentangled", "unary"):
            rows.append(terms.attention(record, queries[:1], "unary")[0])
        if record.coupling in ("coupled", "unnormalized"):
            rows += list(terms.attention(record, queries))
    signed = any(record.coupling == "unnormalized" for record in records)
    return max(oracle.errors(rows, member.plainly, products=signed))


def forward_time(member: Member) -> float:
    """Return the seconds of a forward pass, the least of a few."""
    times = []
    for _ in range(RUNS):
        start = perf_counter()
        with torch.no_grad():
            member()
        times.append(perf_counter() - start)
    return min(times)
