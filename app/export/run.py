"""A whole export: every job once, in this process or in some, and an account of it at the end."""

import json
import signal
from collections.abc import Callable, Generator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import asdict
from hashlib import sha256
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from app.export.account import (
    ERRORS,
    MANIFEST,
    STATISTICS,
    Summary,
    read_account,
    write_account,
    write_statistics,
)
from app.export.inputs import Source, find_sources
from app.export.journal import Journal
from app.export.options import Options
from app.export.pieces import piece_names
from app.export.seeing import check_networks, load
from app.export.work import Done, Job, do_job, general_facts, plan
from app.export.writing import OutputError

Results = Generator[tuple[Job, Done]]


def planned_files(options: Options) -> list[str]:
    """Return the names of all figures that an export will write, without seeing any input.

    Raises:
        ValueError: An input or a network is not there.
        FileNotFoundError: A weight file is not there.
    """
    check_networks(options)
    if options.layout == "statistics":
        find_sources(options.inputs)
        return [f"{STATISTICS}.{kind}" for kind in options.formats]
    titles = [load(name).title for name in options.networks]
    return [
        name
        for job in plan(find_sources(options.inputs), options)
        for name in piece_names(job.stem, titles, options)
    ]


def export(
    options: Options,
    out: Path,
    *,
    jobs: int = 1,
    resume: bool = False,
    force: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """Write the figures of all inputs into a folder, with `manifest.json` and, maybe, `errors.csv`.

    Equal options and inputs give equal bytes, whatever `jobs` is and however often the export was
    interrupted and resumed in between.

    Args:
        options: What to draw of what.
        out: The folder; it is made if it is not there.
        jobs: Processes that draw; 1 is this one.
        resume: Go on with an export that was interrupted.
        force: Replace files that are there.
        progress: Told, after every job, how many of how many are done.

    Raises:
        ValueError: An input or a network is not there, or the folder holds another export.
        FileExistsError: A file is there already and `force` is not given.
        OutputError: The folder does not take the files; what is finished is kept.
    """
    planned = planned_files(options)
    sources = find_sources(options.inputs)
    todo = plan(sources, options)
    fingerprint = _fingerprint(options, sources)
    _make_folder(out)
    journal = Journal(out, fingerprint)
    if journal.exists and not (resume or force):
        raise FileExistsError(
            f"{out} holds an unfinished export; --resume goes on with it, --force begins anew"
        )
    if resume and not journal.exists and (finished := read_account(out, fingerprint)):
        return finished
    going_on = resume and journal.exists
    if not (going_on or force):
        _check_free(out, planned)
    with journal.opened(resume=going_on):
        left = [job for job in todo if job.stem not in journal]
        skipped = len(todo) - len(left)
        progress(skipped, len(todo))
        # what an interrupted run wrote and did not note is drawn again: the same bytes
        with closing(_results(left, options, out, jobs, going_on or force)) as results:
            for count, (job, done) in enumerate(results, start=skipped + 1):
                journal.add(job.stem, asdict(done))
                progress(count, len(todo))
        stems = [job.stem for job in todo]
        more = []
        if options.layout == STATISTICS:
            more = write_statistics(journal, stems, options, out, going_on or force)
        facts = {**general_facts(options), "fingerprint": fingerprint}
        summary = write_account(journal, stems, more, facts, out, going_on or force)
        journal.finished = True
    return summary._replace(skipped=skipped)


def _fingerprint(options: Options, sources: list[Source]) -> str:
    """Return a hash that is equal for equal exports: of the options and of all inputs found."""
    named = [options.to_json(), [list(source) for source in sources]]
    return sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {out} cannot be made: {error.strerror or error}") from error


def _check_free(out: Path, planned: list[str]) -> None:
    there = {entry.name for entry in out.iterdir()}
    taken = [name for name in [*planned, MANIFEST, ERRORS] if name in there]
    if taken:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise FileExistsError(
            f"{out / taken[0]}{more} exists already; --force replaces, --out chooses another folder"
        )


def _results(left: list[Job], options: Options, out: Path, jobs: int, overwrite: bool) -> Results:
    if jobs == 1 or len(left) < 2:
        for job in left:
            yield job, do_job(job, options, out, overwrite)
        return
    # a fresh interpreter per worker: forking a process with torch's threads in it can hang
    pool = ProcessPoolExecutor(min(jobs, len(left)), get_context("spawn"), _ignore_interrupts)
    waiting: dict[Future[Done], Job] = {}
    queue = iter(left)
    try:
        while True:
            for job in islice(queue, 2 * jobs - len(waiting)):
                waiting[pool.submit(do_job, job, options, out, overwrite)] = job
            if not waiting:
                break
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), future.result()
    except BrokenProcessPool as error:
        raise OutputError(
            "a worker process died, perhaps for lack of memory; what is finished is kept, --resume "
            "goes on from there, with fewer --jobs if need be"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupts() -> None:
    """Let the first process alone hear Ctrl-C; workers finish the file they are writing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
