"""From what was seen to files: every layout as a sequence of named pieces, drawn one at a time."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from analysis.degeneracy import STATISTICS
from analysis.figures.bars import Bar, statistics_figure
from analysis.figures.color_bar import bar_figure
from analysis.figures.files import figure_bytes
from analysis.figures.look import Look
from analysis.figures.panels import MAPS, Panel, panel_rows
from analysis.figures.paper import maps_of
from analysis.figures.plate import Plate, Ranges
from analysis.figures.scales import color_ranges
from analysis.figures.sheet import sheet_rows
from analysis.figures.single import panel_figure
from analysis.record import AttentionRecord
from app.batch.inputs import safe_name
from app.batch.networks import load
from app.export.options import DRAWN, Options
from app.export.provenance import noted_safetensors
from app.export.seeing import Seen, caption_of

Note = dict[str, Any]


@dataclass(frozen=True)
class Piece:
    """One file, not drawn yet. Pieces are to be encoded in their order: they share a canvas."""

    name: str  # of the file
    encode: Callable[[Note], bytes]
    about: Note = field(default_factory=dict)  # what the file's note says of this piece alone


def piece_names(stem: str, titles: Sequence[str], options: Options) -> list[str]:
    """Return the files that a job will write, before anything is seen; `titles` are networks'.

    Color bars in files of their own are left out: which there are depends on the maps.
    """
    drawn = [kind for kind in options.formats if kind in DRAWN]
    queries = range(options.query_count) if options.layout != "statistics" else range(0)
    if options.layout == "queries":
        stems = [_query_stem(stem, number) for number in queries]
    elif options.layout == "panels":
        stems = [
            _panel_stem(stem, number, "" if term in ("input", "labels") else title, term)
            for number in queries
            for title in titles
            for term in options.terms
        ]
    else:
        stems = [stem]
    names = [f"{one}.{kind}" for one in dict.fromkeys(stems) for kind in drawn]
    names += [f"{stem}.html"] if "html" in options.formats else []
    if "safetensors" in options.formats:
        names += [_record_name(stem, title) for title in titles]
    return names


def pieces(stem: str, seen: Sequence[Seen], options: Options) -> Iterator[Piece]:
    """Yield the files of one job: of one input or, in the sheet layout, of some."""
    drawn = [kind for kind in options.formats if kind in DRAWN]
    if drawn:
        layout = {
            "grid": _grid,
            "queries": _queries,
            "panels": _panels,
            "sheet": _sheet,
        }[options.layout]
        for name, drawing, about in layout(stem, seen, options):
            for kind in drawn:
                yield Piece(f"{name}.{kind}", _encoder(drawing, kind), about)
    for one in seen:
        if "html" in options.formats:
            from app.export.page import page_bytes

            yield Piece(f"{stem}.html", lambda note, one=one: page_bytes(one, note))  # type: ignore[misc]
        if "safetensors" in options.formats:
            for title in one.scene.records:
                record = one.scene.records[title]
                yield Piece(
                    _record_name(stem, title),
                    lambda note, record=record: record_bytes(record, note),  # type: ignore[misc]
                )


def statistics_pieces(
    stem: str, bars: dict[str, dict[str, Bar]], options: Options
) -> Iterator[Piece]:
    """Yield the files of the statistics of all inputs; their notes hold the numbers.

    Statistics and networks are in the order of the catalog and of the options; statistics that no
    network has are left out.
    """
    titles = [load(name).title for name in options.networks]
    bars = {
        statistic: {title: bars[statistic][title] for title in titles if title in bars[statistic]}
        for statistic in STATISTICS
        if any(isfinite(bar.mean) for bar in bars.get(statistic, {}).values())
    }
    figure = statistics_figure(bars, look=options.look)
    numbers = {
        statistic: {network: bar.to_json() for network, bar in of_network.items()}
        for statistic, of_network in bars.items()
    }
    for kind in options.formats:
        yield Piece(f"{stem}.{kind}", _encoder(figure, kind), {"statistics": numbers})


Drawn = Iterator[tuple[str, Plate | Figure, Note]]  # name without ending, drawing, about


def _grid(stem: str, seen: Sequence[Seen], options: Options) -> Drawn:
    (one,) = seen
    rows, ranges = _rows_and_ranges(one, options)
    caption = caption_of(one) if options.caption else ""
    plate = Plate(rows, ranges, options.look, [one.picture.image] * len(rows), caption=caption)
    yield stem, plate, _about(one.points, ranges, caption)


def _queries(stem: str, seen: Sequence[Seen], options: Options) -> Drawn:
    """Draw the furniture once and exchange the pictures: most of a figure's cost is in the rest."""
    (one,) = seen
    rows, ranges = _rows_and_ranges(one, options)
    caption = caption_of(one) if options.caption else ""
    plate = None
    for number, (row, point) in enumerate(zip(rows, one.points, strict=True)):
        if plate is None:
            plate = Plate([row], ranges, options.look, [one.picture.image], caption=caption)
        else:
            plate.show([row])
        yield _query_stem(stem, number), plate, _about([point], ranges, caption)


def _panels(stem: str, seen: Sequence[Seen], options: Options) -> Drawn:
    (one,) = seen
    rows, ranges = _rows_and_ranges(one, options)
    width = _panel_width(rows[0], options.look)
    for number, (row, point) in enumerate(zip(rows, one.points, strict=True)):
        for panel in row:
            figure = panel_figure(panel, ranges, options.look, one.picture.image, width)
            name = _panel_stem(stem, number, panel.group, panel.title)
            yield name, figure, _about([point], ranges, "")
    for quantity, color_range in ranges.items():
        figure = bar_figure(color_range, options.look)
        yield f"{stem}.scale-{quantity.name}", figure, _about([], ranges, "")


def _sheet(stem: str, seen: Sequence[Seen], options: Options) -> Drawn:
    shown = [name for name in options.terms if name == "input" or name in MAPS]
    rows = sheet_rows(
        [panel_rows(one.scene, one.points, shown, arrows=options.look.arrows) for one in seen]
    )
    ranges = color_ranges(maps_of(rows), options.look.scale)
    plate = Plate(rows, ranges, options.look, [one.picture.image for one in seen])
    about = _about([], ranges, "")
    about["queries"] = [[list(point) for point in one.points] for one in seen]
    yield stem, plate, about


def _rows_and_ranges(one: Seen, options: Options) -> tuple[list[list[Panel]], Ranges]:
    rows = panel_rows(one.scene, one.points, options.terms, arrows=options.look.arrows)
    return rows, color_ranges(maps_of(rows), options.look.scale)


def _panel_width(row: Sequence[Panel], look: Look) -> float:
    """Return the width that panels of a row have in the grid layout, so that both look alike."""
    return look.width / len(row)


def _about(points: Sequence[tuple[float, float]], ranges: Ranges, caption: str) -> Note:
    about: Note = {
        "queries": [list(point) for point in points],
        "scale": {
            quantity.label: None
            if color_range.norm is None
            else [float(color_range.norm.vmin or 0), float(color_range.norm.vmax or 0)]
            for quantity, color_range in ranges.items()
        },
    }
    return {**about, "caption": caption} if caption else about


def _encoder(drawing: Plate | Figure, kind: str) -> Callable[[Note], bytes]:
    if isinstance(drawing, Plate):
        return lambda note: drawing.file(kind, note=note)
    return lambda note: figure_bytes(drawing, kind, note=note)


def record_bytes(record: AttentionRecord, note: Note) -> bytes:
    """Return a record as a file, with a note in its header."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.safetensors"
        record.save(path)
        return noted_safetensors(path.read_bytes(), note)


def _query_stem(stem: str, number: int) -> str:
    return f"{stem}.q{number + 1:02d}"


def _panel_stem(stem: str, number: int, title: str, term: str) -> str:
    middle = f".{safe_name(title)}" if title else ""
    return f"{_query_stem(stem, number)}{middle}.{term}"


def _record_name(stem: str, title: str) -> str:
    return f"{stem}.{safe_name(title)}.safetensors"
