"""An export of one input for the screen: the same files, at the screen's resolution."""

import io
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from PIL import Image

from nonlocal_lens.analysis.figures.bars import bar_of
from nonlocal_lens.analysis.figures.look import DPI_RANGE
from nonlocal_lens.app.batch.run import find
from nonlocal_lens.app.export.formats import DRAWN, MOVIES
from nonlocal_lens.app.export.job import statistics_of
from nonlocal_lens.app.export.layouts import query_stem
from nonlocal_lens.app.export.options import Options
from nonlocal_lens.app.export.outputs import Output, outputs, statistics_outputs
from nonlocal_lens.app.export.scene import Subject, look_at
from nonlocal_lens.app.export.strip import strips

SCREEN_PIXELS = 1100  # width of a previewed figure
MOST_PREVIEWED = 6


def for_screen(options: Options) -> Options:
    """Return options for the same figures as PNG, as wide as a page shows them."""
    low, _ = DPI_RANGE
    dpi = max(low, min(options.look.dpi, round(SCREEN_PIXELS / options.look.width)))
    return replace(options, formats=("png",), look=replace(options.look, dpi=dpi))


def look_at_one(options: Options, *, as_clip: bool | None = None) -> Subject:
    """Run the networks on the one input that is asked for.

    Args:
        options: What is asked for.
        as_clip: How it is read; as the options and the networks say if None.

    Raises:
        OSError: The input cannot be read.
        ValueError: It cannot be used, a network or a block is not there, or it has no such query.
    """
    found = find(options, doing="show", as_clips=as_clip)
    if found.as_clips:
        options.check_clips()
    (source,) = found.sources
    return look_at(source, options, as_clip=found.as_clips)


def preview(options: Options, subject: Subject) -> list[tuple[str, bytes]]:
    """Return the first figures of an export, with their names, as PNG for the screen.

    Of clips they are the contact sheets, and of videos the frame that the query is in.
    """
    return list(islice(_pictures(options, subject), MOST_PREVIEWED))


def _pictures(options: Options, subject: Subject) -> Iterator[tuple[str, bytes]]:
    if set(options.formats) & set(DRAWN):
        for output in _drawn(for_screen(options), subject):
            yield output.name, output.encode({})
    movies = [kind for kind in options.formats if kind in MOVIES]
    if movies:
        yield from _stills(options, subject, movies[0])


def _stills(options: Options, subject: Subject, kind: str) -> Iterator[tuple[str, bytes]]:
    for number, strip in enumerate(strips(subject, options.terms, options.look)):
        frame = strip.place.frame
        (still,) = strip.movie.pictures(slice(frame, frame + 1))
        file = io.BytesIO()
        Image.fromarray(still).save(file, "PNG")
        name = f"{query_stem(subject.source.name, number)}.{kind}"
        yield f"{name}, frame {frame} of {len(strip.rows)}", file.getvalue()


def _drawn(options: Options, subject: Subject) -> Iterator[Output]:
    if options.layout != "statistics":
        return outputs(subject.source.name, [subject], options)
    values = statistics_of(subject)
    bars = {
        statistic: {title: bar_of([row[statistic]]) for title, row in values.items()}
        for statistic in next(iter(values.values()))
    }
    return statistics_outputs("statistics", bars, options)
