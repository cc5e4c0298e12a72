"""What every batch does: find its inputs and networks once, work off what is left, and go on."""

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from nonlocal_lens.analysis.capture import takes_clips
from nonlocal_lens.app.batch.engine import Engine, WorkerDied
from nonlocal_lens.app.batch.inputs import Source, find_sources, safe_name
from nonlocal_lens.app.batch.journal import Journal
from nonlocal_lens.app.batch.networks import LoadedNetwork, load
from nonlocal_lens.app.layers import blocks_of
from nonlocal_lens.models.limits import LONGEST_NAME, shortened

Progress = Callable[[int, int], None]
"""Told, after every job, how many of how many are done."""


class Batch(Protocol):
    """Options of a command that reads pictures or clips."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """What the user names."""

    @property
    def networks(self) -> tuple[str, ...]:
        """Names or weight files."""

    @property
    def block(self) -> str | None:
        """The block that every network must have."""

    @property
    def asks_for_clips(self) -> bool:
        """Whether the options themselves say that the inputs are clips."""


class Found(NamedTuple):
    """What a batch is of."""

    networks: list[LoadedNetwork]
    sources: list[Source]
    as_clips: bool  # how inputs are read


def find(options: Batch, *, doing: str, as_clips: bool | None = None) -> Found:
    """Return the networks of a batch, loaded, and its inputs, not read yet.

    Inputs are clips where the options say so, or a network looks at nothing else.

    Args:
        options: Of the batch.
        doing: What is to be done with a network's blocks, in a word.
        as_clips: How inputs are read, where that is known.

    Raises:
        ValueError: An input or a network is not there, a network has no attention or not the block
            that is asked for, or two would have one name.
        FileNotFoundError: A weight file is not there.
    """
    titles: dict[str, str] = {}
    networks = []
    for name in options.networks:
        network = load(name)
        blocks = [row["block"] for row in blocks_of(network.module)[0]]
        if not blocks:
            raise ValueError(f"network {name!r} has no attention block to {doing}")
        if options.block is not None and options.block not in blocks:
            raise ValueError(
                f"network {name!r} has no block {options.block!r}; available: {', '.join(blocks)}"
            )
        title = safe_name(network.title).casefold()  # files are named after it
        if title in titles:
            raise ValueError(
                f"networks need different names, {titles[title]!r} and {name!r} would both "
                f"be called {network.title!r}"
            )
        titles[title] = name
        networks.append(network)
    as_clips = reads_clips(options) if as_clips is None else as_clips
    return Found(networks, find_sources(options.inputs, clips=as_clips), as_clips)


def reads_clips(options: Batch) -> bool:
    """Return whether inputs are clips: the options say so, or a network looks at nothing else."""
    return options.asks_for_clips or any(
        takes_clips(load(name).module) for name in options.networks
    )


def fingerprint(*parts: Any) -> str:
    """Return a hash that is equal for equal batches: of all that decides what comes out."""
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def begin(
    journal: Journal, taken: Iterable[Path], unfinished: str, *, resume: bool, force: bool
) -> bool:
    """Return whether an interrupted batch is gone on with.

    Args:
        journal: Of the batch; it is held.
        taken: The files that it will write.
        unfinished: What an interrupted batch is called, as the beginning of a sentence.
        resume: Whether such a one is gone on with.
        force: Whether files are replaced.

    Raises:
        FileExistsError: A batch is unfinished here, or a file is there already, and neither is to
            be gone on with or replaced.
    """
    if journal.exists and not (resume or force):
        raise FileExistsError(f"{unfinished}; --resume goes on with it, --force begins anew")
    going_on = resume and journal.exists
    if not (going_on or force):
        there = [path for path in taken if path.exists()]
        if there:
            more = f" and {len(there) - 1} more" if len(there) > 1 else ""
            why = "; no run for it is unfinished" if resume else ""
            raise FileExistsError(
                f"{there[0]}{more} exists already; --force replaces, --out chooses another place"
                f"{why}"
            )
    return going_on


class Job(Protocol):
    """A piece of a batch."""

    @property
    def name(self) -> str:
        """Unlike that of all others."""


class Worked(NamedTuple):
    """What was found in a journal when a batch began."""

    skipped: int  # jobs that were finished before
    notes: tuple[str, ...]  # what has changed since, in sentences


def work_off(
    journal: Journal,
    jobs: Sequence[Any],
    work: Callable[[Any], Any],
    *,
    reads: Callable[[Any], str],
    failed: Callable[[Any, WorkerDied], Any],
    undo: Callable[[dict[str, Any]], None] = lambda entry: None,
    engine: Engine,
    workers: int | None,
    progress: Progress,
    together: Callable[[Sequence[Any]], Sequence[Any]] | None = None,
    at_once: int = 1,
) -> Worked:
    """Do every job that an open journal does not hold, or of which an input is another by now.

    Args:
        journal: Where what came of each job is noted.
        jobs: All jobs of the batch, each a `Job`.
        work: What is done; returns a data class of plain values.
        reads: Hash of all that a job reads, see `app.batch.content`.
        failed: What came of a job whose worker died.
        undo: Takes back what was written for a job, by its entry of the journal.
        engine: What runs it.
        workers: How many processes; None for as many as there are cores.
        progress: Told, after every job, how many of how many are done.
        together: What is done with several jobs at once: returns what `work` does of each.
        at_once: How many jobs, at most; which go together does not depend on what is finished.
    """
    gone = sorted(set(journal.jobs) - {job.name for job in jobs})
    held = [job for job in jobs if job.name in journal]
    with ThreadPoolExecutor() as threads:
        contents = list(threads.map(reads, held))
    noted = [entry.get("content") for entry in journal.entries([job.name for job in held])]
    changed = [
        job.name for job, now, then in zip(held, contents, noted, strict=True) if now != then
    ]
    for name in [*gone, *changed]:
        undo(journal.drop(name))
    at_once = 1 if together is None else at_once
    groups = [tuple(jobs[at : at + at_once]) for at in range(0, len(jobs), at_once)]
    # of a group that is not whole, all is done again: what goes together is always the same
    groups = [group for group in groups if any(job.name not in journal for job in group)]
    left = [job for group in groups for job in group]
    skipped = len(jobs) - len(left)
    progress(skipped, len(jobs))
    noting = partial(_noting, work=work, reads=reads)
    if together is None or at_once == 1:
        worked = engine(noting, left, workers)
    else:
        several = partial(_noting_several, work=together, reads=reads)
        worked = _in_groups(engine, several, noting, groups, workers)
    with closing(worked) as results:
        for count, (job, done) in enumerate(results, start=skipped + 1):
            if isinstance(done, WorkerDied):
                entry = {"content": reads(job), **asdict(failed(job, done))}
            else:
                entry = done
            journal.add(job.name, entry)
            progress(count, len(jobs))
    return Worked(skipped, tuple(_changes(changed, gone)))


def _noting(job: Any, work: Callable[[Any], Any], reads: Callable[[Any], str]) -> dict[str, Any]:
    """Do a job; return its entry of the journal.

    What it reads is hashed before: of an input that changes in between, the hash is not that of
    what is there when the batch is gone on with, and it is read again.
    """
    content = reads(job)
    return {"content": content, **asdict(work(job))}


def _noting_several(
    jobs: Sequence[Any],
    work: Callable[[Sequence[Any]], Sequence[Any]],
    reads: Callable[[Any], str],
) -> list[dict[str, Any]]:
    """Do what `_noting` does, with several jobs at once."""
    contents = [reads(job) for job in jobs]
    done = work(jobs)
    return [
        {"content": content, **asdict(one)} for content, one in zip(contents, done, strict=True)
    ]


def _in_groups(
    engine: Engine,
    several: Callable[[Sequence[Any]], Sequence[Any]],
    alone: Callable[[Any], Any],
    groups: Sequence[tuple[Any, ...]],
    workers: int | None,
) -> Generator[tuple[Any, Any]]:
    """Yield every job with what came of it; those whose worker died together are done alone."""
    again: list[Any] = []
    with closing(engine(several, groups, workers)) as results:
        for group, done in results:
            if isinstance(done, WorkerDied):
                again += group
            else:
                yield from zip(group, done, strict=True)
    if again:
        yield from engine(alone, again, workers)


def _changes(changed: list[str], gone: list[str]) -> Iterator[str]:
    """Yield a sentence for what is read again, and one for what is not there anymore."""
    for names, happened in [
        (changed, "changed since the interrupted run, done again"),
        (gone, "not there anymore since the interrupted run, left out"),
    ]:
        if names:
            told = ", ".join(shortened(name, LONGEST_NAME) for name in names[:3])
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            yield f"{happened}: {told}{more}"
