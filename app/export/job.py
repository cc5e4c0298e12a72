"""One job of an export, start to end: a function of plain values, so that any engine can map it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from nonlocal_lens.analysis.capture import Observation
from nonlocal_lens.analysis.tables.rows import STATISTICS, measure_row
from nonlocal_lens.analysis.together import observe_together
from nonlocal_lens.app import PRODUCT
from nonlocal_lens.app.batch.ahead import Ahead
from nonlocal_lens.app.batch.errors import UNUSABLE, in_words
from nonlocal_lens.app.batch.inputs import Source
from nonlocal_lens.app.batch.networks import load
from nonlocal_lens.app.batch.writing import OutputError, write_atomically
from nonlocal_lens.app.export.looked import Looked
from nonlocal_lens.app.export.options import MEANS, Options
from nonlocal_lens.app.export.outputs import Output, outputs
from nonlocal_lens.app.export.provenance import SCHEMA_VERSION, versions
from nonlocal_lens.app.export.scene import Subject, look_at
from nonlocal_lens.app.threads import one_thread
from nonlocal_lens.app.uploads import user_message


class Job(NamedTuple):
    """What is drawn together: one input, those of one sheet, or all that means are over."""

    name: str  # what the names of its files begin with
    sources: tuple[Source, ...]
    as_clip: bool = False  # how its inputs are read


@dataclass
class Done:
    """What came of a job; plain values, as they are kept in the journal."""

    files: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, str]] = field(default_factory=list)
    statistics: dict[str, dict[str, float]] = field(default_factory=dict)  # by network
    notes: list[dict[str, str]] = field(default_factory=list)  # how inputs were read


def plan(sources: list[Source], options: Options, *, as_clip: bool) -> list[Job]:
    """Return the jobs of an export, in the order of their inputs."""
    if options.layout == MEANS:
        return [Job(MEANS, tuple(sources))]
    if options.layout != "sheet":
        return [Job(source.name, (source,), as_clip) for source in sources]
    size = options.per_sheet
    return [
        Job(f"sheet-{start // size + 1:03d}", tuple(sources[start : start + size]))
        for start in range(0, len(sources), size)
    ]


def do_together(jobs: Sequence[Job], options: Options, out: Path, overwrite: bool) -> list[Done]:
    """Do what `do_job` does with each of some jobs; their pictures of one size go together."""
    with one_thread():
        sources = [source for job in jobs for source in job.sources]
        ahead = Ahead(sources, [load(name) for name in options.networks], observe_together)
    return [do_job(job, options, out, overwrite, ahead) for job in jobs]


def do_job(
    job: Job,
    options: Options,
    out: Path,
    overwrite: bool,
    ahead: Ahead[Observation] | None = None,
) -> Done:
    """Look at a job's inputs, draw its files and write them.

    An input that cannot be used becomes an entry of `errors`; the job's other inputs go on.

    Args:
        job: What is drawn.
        options: How.
        out: The folder.
        overwrite: Whether files that are there are replaced.
        ahead: What networks made of its inputs before.

    Raises:
        OutputError: The folder `out` does not take files.
    """
    done, looked = Done(), Looked(options)
    for source in job.sources:
        try:
            subject = look_at(source, options, as_clip=job.as_clip, ahead=ahead)
            looked.add(subject)
        except UNUSABLE as error:
            done.errors.append(failure(source, error))
        else:
            done.notes += _notes(source, subject.clip.note)
    if not looked.subjects:
        return done
    if options.layout == "statistics":
        done.statistics = statistics_of(looked.subjects[0])
        return done
    facts = facts_of(job.name, looked, options)
    try:
        for output in outputs(job.name, looked.subjects, options):
            done.files.append(write_output(output, facts, out, overwrite=overwrite))
    except OutputError:
        raise
    except UNUSABLE as error:
        done.errors.append(failure(job.sources[0], error))
    return done


def write_output(
    output: Output, facts: dict[str, Any], out: Path, *, overwrite: bool
) -> dict[str, Any]:
    """Draw and write one file; return its entry of the manifest."""
    data = output.encode({**facts, **output.about, "file": output.name})
    write_atomically(out / output.name, data, replace=overwrite)
    return {
        "file": output.name,
        "sha256": sha256(data).hexdigest(),
        "bytes": len(data),
        "inputs": [one["location"] for one in facts["inputs"]][:100],
        **output.about,
    }


def facts_of(stem: str, looked: Looked, options: Options) -> dict[str, Any]:
    """Return what all files of a job say about how they were made."""
    inputs = tuple(one["location"] for one in looked.inputs)
    return {
        **general_facts(replace(options, inputs=inputs)),
        "job": stem,
        "inputs": looked.inputs,
        "blocks": {
            title: {
                "block": over.first.block,
                "head": over.first.head,
                "call": over.first.call,
                "form": over.first.form,
                "coupling": over.first.coupling,
            }
            for title, over in looked.subjects[0].scene.records.items()
        },
    }


def general_facts(options: Options) -> dict[str, Any]:
    """Return what all files of an export say about how they were made."""
    named = options.in_users_terms()
    return {
        "schema_version": SCHEMA_VERSION,
        "made_by": PRODUCT,
        "command": named.command(),
        "versions": versions(),
        "options": {name: value for name, value in named.to_json().items() if name != "inputs"},
        "networks": [
            {"name": name, "title": load(path).title, "sha256": load(path).sha256}
            for name, path in zip(named.networks, options.networks, strict=True)
        ],
    }


def statistics_of(subject: Subject) -> dict[str, dict[str, float]]:
    """Return the statistics of a picture's blocks, by network."""
    rows = {title: measure_row(over.first) for title, over in subject.scene.records.items()}
    return {title: {name: float(row[name]) for name in STATISTICS} for title, row in rows.items()}


def _notes(source: Source, note: str) -> list[dict[str, str]]:
    return [{"input": user_message(source.location), "note": note}] if note else []


def failure(source: Source, error: BaseException) -> dict[str, str]:
    """Return the row of `errors.csv` of an input that cannot be used."""
    return {
        "input": user_message(source.location),
        "error": user_message(in_words(error)),
    }
