"""How many replicas serve a crowd: a simulation of measured service times.

`python -m benchmarks.crowd --people 1000` lets people open the app, look at pictures and pin, with
pauses in between; hovering costs the server nothing. Everybody stays with one replica (sticky
sessions, least busy at the start), which does one thing at a time on each of its cores; pins stand
in no line. What an action takes is what `python -m benchmarks.load --alone` measured; the options
take other values.
"""

import heapq
from typing import Annotated, NamedTuple

import numpy as np
import typer


class Action(NamedTuple):
    """What a visitor asks of the server."""

    name: str
    share: float  # of all that is asked
    seconds: float  # of one core, on average
    passes: bool = False  # whether it stands in no line: it shares the cores with what runs


MINUTES, FIRST_MINUTES = 20, 5
"""How long the crowd is watched, and how much of it is not counted: everybody comes at once."""

MOST_FOR_A_PIN, MOST = 0.5, 5.0
"""Seconds within which 95 of 100 are answered: of pins, and of all that is asked for."""

SPREAD = 0.4
"""Standard deviation of the logarithm of what an action takes."""


def main(
    people: Annotated[int, typer.Option(help="Who are there at the same time.")] = 1000,
    pause: Annotated[float, typer.Option(help="Seconds between what a person asks for.")] = 20.0,
    cores: Annotated[int, typer.Option(help="Of a replica.")] = 4,
    pin: Annotated[float, typer.Option(help="Core seconds of a pin.")] = 0.06,
    picture: Annotated[float, typer.Option(help="Core seconds of another picture.")] = 1.5,
    page: Annotated[float, typer.Option(help="Core seconds of another page.")] = 1.8,
) -> None:
    """Print waits by the number of replicas, up to the first that keeps them short."""
    actions = (
        Action("pin", 0.7, pin, passes=True),
        Action("picture", 0.2, picture),
        Action("page", 0.1, page),
    )
    load = people / pause * sum(one.share * one.seconds for one in actions)
    typer.echo(f"{people} people, one action every {pause:g} s: {load:.1f} cores busy on average")
    typer.echo(f"{'replicas':>9}{'busy':>8}{'pin p50':>10}{'pin p95':>10}{'p95 of all':>12}")
    replicas = max(1, int(np.ceil(0.9 * load / cores)))
    while True:
        waits = simulate(actions, people, pause, replicas, cores)
        p50, p95 = np.quantile(waits["pin"], (0.5, 0.95))
        every = float(np.quantile(np.concatenate(list(waits.values())), 0.95))
        busy = load / replicas / cores
        typer.echo(f"{replicas:>9}{busy:>8.0%}{p50:>8.2f} s{p95:>8.2f} s{every:>10.2f} s")
        if p95 < MOST_FOR_A_PIN and every < MOST:
            break
        replicas += 1


def simulate(
    actions: tuple[Action, ...], people: int, pause: float, replicas: int, cores: int
) -> dict[str, np.ndarray]:
    """Return the seconds from asking to the answer, by action.

    Args:
        actions: What is asked for.
        people: How many ask; each is with the replica of its number, modulo the replicas.
        pause: Mean seconds from an answer to the next question, exponentially distributed.
        replicas: How many servers there are.
        cores: What a replica does at a time.
    """
    draws = np.random.default_rng(0)
    kinds = np.array([one.share for one in actions])
    free = [[0.0] * cores for _ in range(replicas)]
    coming = [(float(draws.exponential(pause)), person) for person in range(people)]
    heapq.heapify(coming)
    waits: dict[str, list[float]] = {one.name: [] for one in actions}
    while coming[0][0] < 60 * MINUTES:
        now, person = heapq.heappop(coming)
        action = actions[int(draws.choice(len(actions), p=kinds))]
        taken = action.seconds * float(draws.lognormal(-(SPREAD**2) / 2, SPREAD))
        replica = free[person % replicas]
        running = sum(until > now for until in replica)
        done = max(now, heapq.heappop(replica)) + taken
        heapq.heappush(replica, done)
        if action.passes:  # what it takes, others wait for
            done = now + taken * max(1, (running + 1) / cores)
        if now > 60 * FIRST_MINUTES:
            waits[action.name].append(done - now)
        heapq.heappush(coming, (done + float(draws.exponential(pause)), person))
    return {name: np.array(found) for name, found in waits.items()}


if __name__ == "__main__":
    typer.run(main)
