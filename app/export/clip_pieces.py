"""From a clip to files: a video, a GIF, a contact sheet, a live film strip, the records."""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from math import isfinite

import numpy as np
from PIL import Image

from analysis.figures.drawing import color_map
from analysis.figures.files import PrintFigure, figure_bytes
from analysis.figures.look import Look
from analysis.figures.panels import DEFAULT_SHOWN, MapPanel, Panel, Shown
from analysis.figures.plate import Ranges
from analysis.figures.scales import color_ranges
from analysis.over_time import strongest_arrows, temporal_mass
from analysis.record import AttentionRecord
from app.batch.inputs import safe_name
from app.export.clip_files import gif_bytes, mp4_bytes
from app.export.clip_movie import Picture, movie_pictures
from app.export.clip_page import clip_page_bytes
from app.export.clip_queries import Place
from app.export.clip_seeing import SeenClip, is_spacetime, panels_of, query_position
from app.export.clip_sheet import SpaceTimeArrow, sheet_figure, shown_frames
from app.export.options import DRAWN, MOVIES, Options
from app.export.pieces import Note, Piece, record_bytes

Rows = list[list[Panel]]

CORNERS = " In the corners: the frame's share of the query's attention."

BAR_COLORS = 64
"""Colors of a GIF that are kept for its color bars."""


def clip_piece_names(stem: str, titles: Sequence[str], options: Options) -> list[str]:
    """Return the files that a clip will become, before it is seen.

    Records are left out: how many there are depends on the clip.
    """
    names = [
        f"{_query_stem(stem, number)}.{kind}"
        for number in range(options.query_count)
        for kind in options.formats
        if kind in DRAWN or kind in MOVIES
    ]
    return names + ([f"{stem}.html"] if "html" in options.formats else [])


def clip_pieces(stem: str, seen: SeenClip, options: Options) -> Iterator[Piece]:
    """Yield the files of one clip; all queries have one scale."""
    drawn = [kind for kind in options.formats if kind in DRAWN or kind in MOVIES]
    if drawn:
        every, ranges = _rows_and_ranges(seen, options)
        about = {
            "scale": {
                quantity.label: [float(one.norm.vmin or 0), float(one.norm.vmax or 0)]
                for quantity, one in ranges.items()
                if one.norm is not None
            }
        }
        for number, (place, rows) in enumerate(zip(seen.places, every, strict=True)):
            caption = _caption(seen, place)
            for kind in drawn:
                encode = _movie if kind in MOVIES else _sheet
                yield Piece(
                    f"{_query_stem(stem, number)}.{kind}",
                    encode(seen, place, rows, ranges, options, kind),
                    {**about, "queries": [list(place)], "caption": caption},
                )
    if "html" in options.formats:
        yield Piece(f"{stem}.html", lambda note: clip_page_bytes(seen, note))
    if "safetensors" in options.formats:
        for title, records in seen.records.items():
            for frame, record in enumerate(records):
                part = "" if len(records) == 1 else f".f{frame:03d}"
                yield Piece(
                    f"{stem}.{safe_name(title)}{part}.safetensors",
                    lambda note, record=record: record_bytes(record, note),  # type: ignore[misc]
                )


def movie_stills(stem: str, seen: SeenClip, options: Options) -> Iterator[tuple[str, bytes]]:
    """Yield of every video the frame that its query is in: what it shows, and a PNG."""
    kinds = [kind for kind in options.formats if kind in MOVIES]
    if not kinds:
        return
    every, ranges = _rows_and_ranges(seen, options)
    for number, (place, rows) in enumerate(zip(seen.places, every, strict=True)):
        (still,) = _pictures(
            seen, place, rows, ranges, options, frames=slice(place.frame, place.frame + 1)
        )
        file = io.BytesIO()
        Image.fromarray(still).save(file, "PNG")
        name = f"{_query_stem(stem, number)}.{kinds[0]}"
        yield f"{name}, frame {place.frame} of {len(rows)}", file.getvalue()


def _rows_and_ranges(seen: SeenClip, options: Options) -> tuple[list[Rows], Ranges]:
    every = [panels_of(seen, place, options.terms) for place in seen.places]
    return every, _ranges(every, options.look)


def _pictures(
    seen: SeenClip,
    place: Place,
    rows: Rows,
    ranges: Ranges,
    options: Options,
    frames: slice = slice(None),
) -> Iterator[Picture]:
    return movie_pictures(
        rows[frames],
        seen.clip.frames[frames],
        _labels(seen, place, options.terms)[frames],
        ranges,
        options.look,
        _caption(seen, place),
    )


def _movie(
    seen: SeenClip,
    place: Place,
    rows: Rows,
    ranges: Ranges,
    options: Options,
    kind: str,
) -> Callable[[Note], bytes]:
    def encode(note: Note) -> bytes:
        pictures = _pictures(seen, place, rows, ranges, options)
        comment = json.dumps(note, sort_keys=True)
        times, fps = seen.clip.times.tolist(), seen.clip.fps
        if kind == "mp4":
            return mp4_bytes(pictures, times, fps, comment=comment)
        levels = np.linspace(0, 1, BAR_COLORS // len(ranges))
        bars = [color_map(quantity, options.look)(levels)[:, :3] for quantity in ranges]
        colors = np.rint(np.concatenate(bars) * 255).astype(np.uint8)
        return gif_bytes(pictures, times, fps, comment=comment, colors=colors)

    return encode


def clip_figure(
    seen: SeenClip, place: Place, shown: Sequence[Shown] = DEFAULT_SHOWN, look: Look | None = None
) -> PrintFigure:
    """Draw the contact sheet of one query, on its own scale.

    Args:
        seen: The clip.
        place: The query.
        shown: Any of `DEFAULT_SHOWN`: the rows of the sheet, the maps for every network.
        look: See `analysis.figures.Look`; its scale must be one for all frames.

    Raises:
        ValueError: The figure is too narrow for its frames.
    """
    look = look or Look()
    rows = panels_of(seen, place, tuple(shown))
    return _drawn_sheet(seen, place, rows, _ranges([rows], look), look)


def _ranges(every: Sequence[Rows], look: Look) -> Ranges:
    """Return the color ranges that the maps of all queries share."""
    panels = (panel for rows in every for row in rows for panel in row)
    return color_ranges([one for one in panels if isinstance(one, MapPanel)], look.scale)


def _sheet(
    seen: SeenClip,
    place: Place,
    rows: Rows,
    ranges: Ranges,
    options: Options,
    kind: str,
) -> Callable[[Note], bytes]:
    def encode(note: Note) -> bytes:
        figure = _drawn_sheet(seen, place, rows, ranges, options.look)
        return figure_bytes(figure, kind, note=note)

    return encode


def _drawn_sheet(
    seen: SeenClip, place: Place, rows: Rows, ranges: Ranges, look: Look
) -> PrintFigure:
    shown = shown_frames(len(rows), place.frame)
    return sheet_figure(
        [rows[index] for index in shown],
        seen.clip.frames[shown],
        [f"{index} · {seen.clip.times[index]:.2f} s" for index in shown],
        ranges,
        look,
        _caption(seen, place).removesuffix(CORNERS),
        _arrows(seen, place, look.arrows, shown),
    )


def _labels(seen: SeenClip, place: Place, shown: tuple[Shown, ...]) -> list[list[str]]:
    """Return what stands in every panel: the time, or the frame's share of the attention."""
    clip = seen.clip
    times = [f"frame {index} · {time:.2f} s" for index, time in enumerate(clip.times)]
    columns: list[list[str]] = [times for name in shown if name == "input"]
    for records in seen.records.values():
        for name in shown:
            if name == "input":
                continue
            column = [""] * len(clip)
            record = records[0]
            if is_spacetime(records, clip) and record.coupling != "unnormalized":
                query = query_position(record, place, len(clip))
                mass = temporal_mass(record, [query], name)[0]  # type: ignore[arg-type]
                shares = (mass / mass.sum()).tolist()
                column = [
                    f"{100 * shares[index * len(shares) // len(clip)]:.1f} %"
                    for index in range(len(clip))
                ]
            elif len(records) > 1 and name == "whole":
                column = ["" if point else "query lost" for point in seen.path(place)]
            columns.append(column)
    return [list(row) for row in zip(*columns, strict=True)]


def _arrows(seen: SeenClip, place: Place, count: int, shown: list[int]) -> list[SpaceTimeArrow]:
    """Return arrows to the strongest keys of the first network, if it looks at whole clips."""
    records = next(iter(seen.records.values()))
    if not count or not is_spacetime(records, seen.clip) or place.frame not in shown:
        return []
    record: AttentionRecord = records[0]
    frames, key_frames = len(seen.clip), record.key_grid.frames
    found = []
    for arrow in strongest_arrows(record, query_position(record, place, frames), count):
        middle = int((arrow.cell.frame + 0.5) * frames / key_frames)
        nearest = min(range(len(shown)), key=lambda at: abs(shown[at] - middle))
        start = shown.index(place.frame)
        found.append(SpaceTimeArrow(start, (place.x, place.y), nearest, (arrow.x, arrow.y)))
    return found


def _caption(seen: SeenClip, place: Place) -> str:
    clip = seen.clip
    words = (
        f"{clip.name}: query in frame {place.frame} ({clip.times[place.frame]:.2f} s) at x "
        f"{place.x:.0f}, y {place.y:.0f}"
    )
    words += ", followed by optical flow" if seen.flow is not None else ""
    rate = f", {clip.fps:.3g} a second" if len(clip) > 1 and isfinite(clip.fps) else ""
    words = f"{words}. {len(clip)} frames{rate}."
    if any(is_spacetime(records, clip) for records in seen.records.values()):
        words += CORNERS
    return words


def _query_stem(stem: str, number: int) -> str:
    return f"{stem}.q{number + 1:02d}"
