"""An export of one input for the screen: the same pieces, at the screen's resolution."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from analysis.figures.bars import bar_of
from analysis.figures.look import DPI_RANGE
from app.batch.inputs import find_sources
from app.export.clip_pieces import clip_pieces, movie_stills
from app.export.clip_seeing import SeenClip, see_clip
from app.export.options import DRAWN, Options
from app.export.pieces import Piece, pieces, statistics_pieces
from app.export.seeing import Seen, check_networks, see
from app.export.work import Job, do_job

SCREEN_PIXELS = 1100  # width of a previewed figure
MOST_PREVIEWED = 6


def for_screen(options: Options) -> Options:
    """Return options for the same figures as PNG, as wide as a page shows them."""
    low, _ = DPI_RANGE
    dpi = max(low, min(options.look.dpi, round(SCREEN_PIXELS / options.look.width)))
    return replace(options, formats=("png",), look=replace(options.look, dpi=dpi))


def see_one(options: Options) -> Seen:
    """Run the networks on the one input that is asked for.

    Raises:
        OSError: The input cannot be read.
        ValueError: It cannot be used, a network or a block is not there, or it has no such query.
    """
    check_networks(options)
    (source,) = find_sources(options.inputs)
    return see(source, options)


def see_one_clip(options: Options) -> SeenClip:
    """Run the networks on the one clip that is asked for; errors as of `see_one`."""
    check_networks(options)
    options.check_clips()
    (source,) = find_sources(options.inputs, clips=True)
    return see_clip(source, options)


def preview(options: Options, seen: Seen | SeenClip) -> list[tuple[str, bytes]]:
    """Return the first figures of an export, with their names, as PNG for the screen.

    Of clips they are the contact sheets, and of videos the frame that the query is in.
    """
    if isinstance(seen, SeenClip):
        return list(islice(_of_clip(options, seen), MOST_PREVIEWED))
    options = for_screen(options)
    return [
        (piece.name, piece.encode({})) for piece in islice(_drawn(options, seen), MOST_PREVIEWED)
    ]


def _of_clip(options: Options, seen: SeenClip) -> Iterator[tuple[str, bytes]]:
    if set(options.formats) & set(DRAWN):
        for piece in clip_pieces(seen.source.name, seen, for_screen(options)):
            yield piece.name, piece.encode({})
    yield from movie_stills(seen.source.name, seen, options)


def _drawn(options: Options, seen: Seen) -> Iterator[Piece]:
    if options.layout != "statistics":
        return pieces(seen.source.name, [seen], options)
    done = do_job(Job(seen.source.name, (seen.source,)), options, Path(), overwrite=False)
    if done.errors:
        raise ValueError(done.errors[0]["error"])
    bars = {
        statistic: {title: bar_of([row[statistic]]) for title, row in done.statistics.items()}
        for statistic in next(iter(done.statistics.values()))
    }
    return statistics_pieces("statistics", bars, options)
