"""A survey at work: in a thread of its own, so that pages stay alive and can cancel it."""

import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import nn

from app.networks import short_name
from app.pictures import Picture
from app.survey.measure import Row, measure
from models import load_network


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


@dataclass
class Results:
    """What a survey found so far; its thread appends, pages read."""

    rows: list[Row] = field(default_factory=list)  # `item` and `source` say what they are of
    class_rows: list[Row] = field(default_factory=list)
    errors: list[Row] = field(default_factory=list)
    done: int = 0  # runs of a network, failed ones included
    seconds: float = 0.0  # that they took together


class Survey:
    """A plan that is being worked off; it stops when cancelled, or when nobody holds it anymore.

    What cannot be read or measured becomes an entry of `results.errors`; the rest goes on. The
    thread loads networks of its own, so that no page waits for it.
    """

    def __init__(self, plan: Plan, load: Callable[[str], nn.Module] = load_network) -> None:
        self.plan = plan
        self.results = Results()
        self._cancelled = threading.Event()
        weakref.finalize(self, self._cancelled.set)
        self._thread = threading.Thread(
            target=_work, args=(plan, load, self.results, self._cancelled), daemon=True
        )
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether there is more to come."""
        return self._thread.is_alive()

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
    plan: Plan, load: Callable[[str], nn.Module], results: Results, cancelled: threading.Event
) -> None:
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
        for source, network in networks.items():
            if cancelled.is_set():
                return
            try:
                found = measure(short_name(source), network, picture, plan.label_classes)
            except Exception as error:
                results.errors.append(_error(item.name, source, error))
            else:
                known = {"item": index, "source": source}
                results.class_rows += [{**known, **row} for row in found.class_rows]
                results.rows += [{**known, **row} for row in found.rows]
            now = time.monotonic()
            results.seconds += now - start
            results.done += 1
            start = now


def _error(name: str, source: str, error: Exception) -> Row:
    words = " ".join(str(error).split()) or type(error).__name__
    return {"input": name, "network": short_name(source) if source else "", "error": words}
