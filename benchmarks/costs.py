"""What one run costs: time of the processor, and memory beyond what the process has already."""

import gc
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import process_time

from benchmarks.headline import Headline, Run
from tests.peak_memory import forget_peak, peak_megabytes


@dataclass(frozen=True)
class Cost:
    """Of one run.

    Args:
        seconds: Of the processor.
        megabytes: The greatest memory beyond what the process had before, at least 1, below which
            it is noise; None where the system does not tell it run by run.
    """

    seconds: float
    megabytes: float | None


def cost_of(run: Run) -> Cost:
    """Return what a run costs; what it returns is dropped."""
    gc.collect()
    tells = forget_peak()
    before, start = peak_megabytes(), process_time()
    run()
    seconds = process_time() - start
    return Cost(seconds, max(1.0, peak_megabytes() - before) if tells else None)


def headlines_of(
    name: str, ours: Sequence[Cost], other: str, theirs: Sequence[Cost], *, beyond: str
) -> list[Headline]:
    """Return the time and the memory of two ways; `beyond` says what is in memory already."""
    memory = f"{name}: memory beyond {beyond}"
    mine, others = _megabytes(ours), _megabytes(theirs)
    note = "" if mine else "only Linux tells the greatest memory of each round"
    return [
        Headline(name, "CPU s", _seconds(ours), other, _seconds(theirs)),
        Headline(memory, "MB", mine, other, others, note),
    ]


def free_bytes() -> float:
    """Return how much memory the machine has to spare."""
    with open("/proc/meminfo", encoding="ascii") as lines:  # noqa: PTH123 - no regular file
        return next(float(line.split()[1]) * 1024 for line in lines if "MemAvailable" in line)


def _seconds(costs: Iterable[Cost]) -> tuple[float, ...]:
    return tuple(cost.seconds for cost in costs)


def _megabytes(costs: Iterable[Cost]) -> tuple[float, ...]:
    return tuple(cost.megabytes for cost in costs if cost.megabytes is not None)
