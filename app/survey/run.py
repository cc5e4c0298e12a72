"""A survey at work: in a thread of its own, so that pages stay alive and can cancel it."""

import itertools
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from torch import nn

from nonlocal_lens.analysis.image_independence import UnaryMaps
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.tables.rows import Row
from nonlocal_lens.app.batch.networks import load as load_once
from nonlocal_lens.app.line import LeftLineError, Ticket, line
from nonlocal_lens.app.networks import short_name
from nonlocal_lens.app.pictures import Picture, thumbnail
from nonlocal_lens.app.survey.measure import measure
from nonlocal_lens.models.limits import error_words

MOST_THUMBNAILS = 200  # more are on no page at once


class Item(NamedTuple):
    """A picture of a survey, not read yet."""

    name: str
    read: Callable[[], Picture]


@dataclass(frozen=True)
class Plan:
    """What a survey measures."""

    networks: tuple[str, ...]  # what `load_network` takes
    items: tuple[Item, ...]
    label_classes: tuple[str, ...]  # names of the label values, where pictures have labels

    @property
    def total(self) -> int:
        """How many times a network runs."""
        return len(self.networks) * len(self.items)

    def same_as(self, other: "Plan") -> bool:
        """Return whether another plan measures the same networks on pictures of the same names."""
        names = [[item.name for item in plan.items] for plan in (self, other)]
        return self.networks == other.networks and names[0] == names[1]


Part = tuple[str, str, int, int | None]
"""What has a unary map of its own: a network, its block, which run of it, and its head."""

PART = ("source", "block", "call", "head")
"""The columns that tell it."""


@dataclass
class Results:
    """What a survey found so far; its thread appends, pages read."""

    rows: list[Row] = field(default_factory=list)  # `item` and `source` say what they are of
    class_rows: list[Row] = field(default_factory=list)
    errors: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # how pictures and labels were read, once each
    thumbnails: dict[int, str] = field(default_factory=dict)  # of an item: a data URL
    unary_maps: dict[Part, UnaryMaps | None] = field(default_factory=dict)
    done: int = 0  # runs of a network, failed ones included
    seconds: float = 0.0  # that they took together


_NUMBERS = itertools.count()


class Survey:
    """A plan that is being worked off; it stops when cancelled, or when nobody holds it anymore.

    What cannot be read or measured becomes an entry of `results.errors`; the rest goes on. Every
    picture and network stands in line, so that pages, and other surveys, have their turns between.
    Networks are twins of those that pages use: nobody waits for another's hooks.

    Args:
        plan: What to measure.
        load: What gives a network by its name.
        tab: Whose it is.
    """

    def __init__(
        self,
        plan: Plan,
        load: Callable[[str], nn.Module] = lambda source: load_once(source).twin(),
        tab: str | None = None,
    ) -> None:
        self.plan, self.number = plan, next(_NUMBERS)  # tells it from every other
        self.results = Results()
        self._place: list[Ticket | None] = [None]
        self._cancelled = threading.Event()
        weakref.finalize(self, self._cancelled.set)
        self._thread = threading.Thread(
            target=_work,
            args=(plan, load, self.results, self._cancelled, tab, self._place),
            daemon=True,
        )
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether there is more to come."""
        return self._thread.is_alive()

    @property
    def ahead(self) -> int:
        """How many turns come before its next one; 0 while it is at work."""
        ticket = self._place[0]
        return 0 if ticket is None else line().ahead(ticket)

    @property
    def cancelled(self) -> bool:
        """Whether it was told to stop."""
        return self._cancelled.is_set()

    @property
    def seconds_left(self) -> float | None:
        """How long the rest will take if it goes on like this; None before anything is known."""
        done = self.results.done
        return self.results.seconds / done * (self.plan.total - done) if done else None

    def cancel(self) -> None:
        """Stop after the run that is under way; what was found stays."""
        self._cancelled.set()

    def wait(self, seconds: float | None = None) -> None:
        """Return when there is nothing more to come, or after some seconds."""
        self._thread.join(seconds)


def _work(
    plan: Plan,
    load: Callable[[str], nn.Module],
    results: Results,
    cancelled: threading.Event,
    tab: str | None,
    place: list[Ticket | None],
) -> None:
    turn = partial(
        line().turn,
        tab,
        background=True,
        wanted=lambda: not cancelled.is_set(),
        waits=lambda ticket: place.__setitem__(0, ticket),
    )
    networks: dict[str, nn.Module] = {}
    for source in plan.networks:
        if cancelled.is_set():
            return
        try:
            networks[source] = load(source)
        except Exception as error:  # a thread has nobody to raise to
            results.errors.append(_error("every picture", source, error))
            results.done += len(plan.items)
    for index, item in enumerate(plan.items):
        start = time.monotonic()
        try:
            picture = item.read()
        except Exception as error:
            results.errors.append(_error(item.name, "", error))
            results.done += len(networks)
            continue
        if picture.note and picture.note not in results.notes:
            results.notes.append(picture.note)
        if index < MOST_THUMBNAILS:
            results.thumbnails[index] = thumbnail(picture.image)
        for source, network in networks.items():
            if cancelled.is_set():
                return
            try:
                with turn():
                    found = measure(short_name(source), network, picture, plan.label_classes)
            except LeftLineError:
                return
            except Exception as error:
                results.errors.append(_error(item.name, source, error))
            else:
                known = {"item": index, "source": source}
                results.class_rows += [{**known, **row} for row in found.class_rows]
                for row, record in zip(found.rows, found.records, strict=True):
                    part = source, row["block"], row["call"], row["head"]
                    _add_map(results, part, record)
                results.rows += [{**known, **row} for row in found.rows]
            now = time.monotonic()
            results.seconds += now - start
            results.done += 1
            start = now


def _add_map(results: Results, part: Part, record: AttentionRecord) -> None:
    """Keep one more unary map; None where the places of some pictures are others'."""
    maps = results.unary_maps.setdefault(part, UnaryMaps())
    try:
        if maps is not None:
            maps.add(record)
    except ValueError:
        results.unary_maps[part] = None


def _error(name: str, source: str, error: Exception) -> Row:
    network = short_name(source) if source else ""
    return {"input": name, "network": network, "error": error_words(error)}
