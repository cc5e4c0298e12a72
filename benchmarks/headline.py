"""A headline figure: what something costs here, and what it costs the plain way, round by round."""

import gc
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from time import process_time
from typing import Any

Run = Callable[[], object]


@dataclass(frozen=True)
class Headline:
    """One line of the table.

    Args:
        name: What is done.
        unit: Of the values; smaller is better, whatever they count.
        ours: What it takes here, in each round.
        baseline: The other way, in words.
        theirs: What it takes the other way, in the same rounds; empty where there is no other way.
        note: What else must be known to read the figures; why there are none.
    """

    name: str
    unit: str
    ours: tuple[float, ...]
    baseline: str = ""
    theirs: tuple[float, ...] = ()
    note: str = ""

    @property
    def ratios(self) -> tuple[float, ...]:
        """What it takes here in units of the other way, in each round: below 1 is better."""
        return tuple(a / b for a, b in zip(self.ours, self.theirs, strict=False))

    def to_json(self) -> dict[str, Any]:
        """Return the values with their medians and their ratio."""
        found: dict[str, Any] = asdict(self)
        for name, values in (("ours", self.ours), ("theirs", self.theirs), ("ratio", self.ratios)):
            if values:
                found[f"{name}_median"] = median(values)
                found[f"{name}_range"] = [min(values), max(values)]
        return found

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Headline":
        """Return what `to_json` was made of."""
        known = ("name", "unit", "ours", "baseline", "theirs", "note")
        values = {name: found[name] for name in known}
        return cls(**{**values, "ours": tuple(found["ours"]), "theirs": tuple(found["theirs"])})


def cpu_seconds(run: Run) -> float:
    """Return the processor time of a run in seconds, which other programs hardly change."""
    gc.collect()
    start = process_time()
    run()
    return process_time() - start


def in_turns(rounds: int, *ways: Run, measure: Callable[[Run], Any] = cpu_seconds) -> list:
    """Measure ways to do one thing in turns, so that whatever slows the machine slows all of them.

    Every way runs once beforehand: what is loaded or built only once is not counted.

    Returns:
        A tuple of the rounds' values for every way.
    """
    for way in ways:
        way()
    taken = [[measure(way) for way in ways] for _ in range(rounds)]
    return list(zip(*taken, strict=True))


def in_a_process(module: str, *arguments: str, timeout: float = 600) -> Any:
    """Return what a benchmark's module prints as JSON when it runs alone in a fresh process.

    Raises:
        RuntimeError: It fails, or takes too long.
    """
    command = [sys.executable, "-m", module, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"it took more than {timeout:g} s") from error
    if done.returncode:
        last = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise RuntimeError(last)
    return json.loads(done.stdout.splitlines()[-1])
