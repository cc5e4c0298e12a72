"""One job of an export, start to end: a function of plain values, so that any engine can map it."""

from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from analysis import degeneracy
from app import PRODUCT
from app.batch.clips import of_clips
from app.batch.errors import UNUSABLE, in_words
from app.batch.inputs import Source
from app.batch.networks import load
from app.batch.writing import OutputError, write_whole
from app.export.clip_pieces import clip_pieces
from app.export.clip_seeing import SeenClip, see_clip
from app.export.options import Options
from app.export.pieces import Piece, pieces
from app.export.provenance import SCHEMA_VERSION, versions
from app.export.seeing import Seen, see
from app.uploads import in_users_words

Entry = dict[str, Any]


class Job(NamedTuple):
    """What is drawn together: one input, or those of one sheet."""

    stem: str  # what the names of its files begin with
    sources: tuple[Source, ...]


@dataclass
class Done:
    """What came of a job; plain values, as they are kept in the journal."""

    files: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, str]] = field(default_factory=list)
    statistics: dict[str, dict[str, float]] = field(default_factory=dict)  # by network


def plan(sources: list[Source], options: Options) -> list[Job]:
    """Return the jobs of an export, in the order of their inputs."""
    if options.layout != "sheet":
        return [Job(source.name, (source,)) for source in sources]
    size = options.per_sheet
    return [
        Job(f"sheet-{start // size + 1:03d}", tuple(sources[start : start + size]))
        for start in range(0, len(sources), size)
    ]


def do_job(job: Job, options: Options, out: Path, overwrite: bool) -> Done:
    """See a job's inputs, draw its files and write them.

    An input that cannot be used becomes an entry of `errors`; the job's other inputs go on.

    Raises:
        OutputError: The folder `out` does not take files.
    """
    done = Done()
    if of_clips(options):
        return _do_clip(job, options, out, overwrite)
    seen = []
    for source in job.sources:
        try:
            seen.append(see(source, options))
        except UNUSABLE as error:
            done.errors.append(_failure(source, error))
    if not seen:
        return done
    if options.layout == "statistics":
        done.statistics = _statistics(seen[0])
        return done
    facts = facts_of(job.stem, seen, options)
    try:
        for piece in pieces(job.stem, seen, options):
            done.files.append(write_piece(piece, facts, out, overwrite=overwrite))
    except OutputError:
        raise
    except (OSError, ValueError) as error:
        done.errors.append(_failure(job.sources[0], error))
    return done


def _do_clip(job: Job, options: Options, out: Path, overwrite: bool) -> Done:
    done = Done()
    (source,) = job.sources
    try:
        seen = see_clip(source, options)
        facts = clip_facts_of(job.stem, seen, options)
        for piece in clip_pieces(job.stem, seen, options):
            done.files.append(write_piece(piece, facts, out, overwrite=overwrite))
    except OutputError:
        raise
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        done.errors.append(_failure(source, error))
    return done


def write_piece(
    piece: Piece, facts: dict[str, Any], out: Path, *, overwrite: bool
) -> dict[str, Any]:
    """Draw and write one file; return its entry of the manifest."""
    data = piece.encode({**facts, **piece.about, "file": piece.name})
    write_whole(out / piece.name, data, replace=overwrite)
    return {
        "file": piece.name,
        "sha256": sha256(data).hexdigest(),
        "bytes": len(data),
        "inputs": [one["location"] for one in facts["inputs"]][:100],
        **piece.about,
    }


def facts_of(stem: str, seen: list[Seen], options: Options) -> dict[str, Any]:
    """Return what all files of a job say about how they were made."""
    return {
        **general_facts(replace(options, inputs=tuple(one.source.location for one in seen))),
        "job": stem,
        "inputs": [
            {
                "name": one.source.name,
                "location": in_users_words(one.source.location),
                "sha256": one.picture.sha256,
                "size": [one.picture.image.shape[1], one.picture.image.shape[0]],
            }
            for one in seen
        ],
        "blocks": {
            title: {
                "block": record.block,
                "head": record.head,
                "form": record.form,
                "coupling": record.coupling,
            }
            for title, record in seen[0].scene.records.items()
        },
    }


def clip_facts_of(stem: str, seen: SeenClip, options: Options) -> dict[str, Any]:
    """Return what all files of a clip say about how they were made."""
    clip = seen.clip
    return {
        **general_facts(replace(options, inputs=(seen.source.location,))),
        "job": stem,
        "inputs": [
            {
                "name": seen.source.name,
                "location": in_users_words(seen.source.location),
                "sha256": clip.sha256,
                "size": [clip.frames.shape[2], clip.frames.shape[1]],
                "frames": list(clip.indices),
                "times": [round(float(time), 6) for time in clip.times],
                "note": clip.note,
            }
        ],
        "blocks": {
            title: {
                "block": records[0].block,
                "head": records[0].head,
                "form": records[0].form,
                "coupling": records[0].coupling,
            }
            for title, records in seen.records.items()
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


def _statistics(seen: Seen) -> dict[str, dict[str, float]]:
    values = {}
    for title, record in seen.scene.records.items():
        report = degeneracy.measure(record)
        values[title] = {name: float(getattr(report, name)) for name in degeneracy.STATISTICS}
    return values


def _failure(source: Source, error: BaseException) -> dict[str, str]:
    return {
        "input": in_users_words(source.location),
        "error": in_users_words(in_words(error)),
    }
