"""How what was looked at is arranged: an entry for every layout, of pictures and of clips."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any, NamedTuple

from nonlocal_lens.analysis.atlas import HeadMap, measure_heads
from nonlocal_lens.analysis.figures.atlas import Wall, atlas_figure
from nonlocal_lens.analysis.figures.color_bar import bar_figure
from nonlocal_lens.analysis.figures.panels import MAPS, Panel, panel_rows, shades_of
from nonlocal_lens.analysis.figures.paper import maps_of
from nonlocal_lens.analysis.figures.plate import Plate, Ranges
from nonlocal_lens.analysis.figures.scales import color_ranges
from nonlocal_lens.analysis.figures.sheet import sheet_rows
from nonlocal_lens.analysis.figures.single import panel_figure
from nonlocal_lens.analysis.head_means import HeadMeans, sentence_of_means
from nonlocal_lens.analysis.scene import Place, Query
from nonlocal_lens.analysis.terms import TERMS
from nonlocal_lens.app.batch.inputs import safe_name
from nonlocal_lens.app.export.formats import Note
from nonlocal_lens.app.export.options import Options
from nonlocal_lens.app.export.scene import Subject, numbers_in_words
from nonlocal_lens.app.export.strip import strips

Drawn = Iterator[tuple[str, Any, Note]]
"""Names without ending, drawings with a `file(kind, note=...)`, and what notes say of them alone.

Drawings are to be written in their order: they may share a canvas."""


class Layout(NamedTuple):
    """One arrangement.

    Attributes:
        stems: What its files are called without their endings, before anything is looked at: from
            the job's name, the networks' titles and the options.
        draw: Yields its drawings.
    """

    stems: Callable[[str, Sequence[str], Options], list[str]]
    draw: Callable[[str, Sequence[Subject], Options], Drawn]


def _grid(stem: str, subjects: Sequence[Subject], options: Options) -> Drawn:
    (one,) = subjects
    rows, ranges = _rows_and_ranges(one, options)
    caption = numbers_in_words(one.scene) if options.caption else ""
    yield stem, _plate(one, rows, ranges, options, caption), about(one.queries, ranges, caption)


def _stacked(stem: str, subjects: Sequence[Subject], options: Options) -> Drawn:
    (one,) = subjects
    rows, ranges = _rows_and_ranges(one, options)
    caption = numbers_in_words(one.scene) if options.caption else ""
    stacked = [part for row in rows for part in below_one_another(row)]
    plate = _plate(one, stacked, ranges, options, caption)
    yield stem, plate, about(one.queries, ranges, caption)


def below_one_another(row: Sequence[Panel]) -> list[list[Panel]]:
    """Return a row of several networks' panels as a row for each, what all share in every one."""
    shared = [panel for panel in row if not panel.group]
    groups = list(dict.fromkeys(panel.group for panel in row if panel.group))
    return [
        [*shared, *(replace(panel, group="") for panel in row if panel.group == group)]
        for group in groups
    ] or [shared]


def _plate(
    one: Subject, rows: Sequence[Sequence[Panel]], ranges: Ranges, options: Options, caption: str
) -> Plate:
    return Plate(
        rows,
        ranges,
        options.look,
        [one.scene.frames[0]] * len(rows),
        caption=caption,
        letters=options.letters,
        names=row_names(one, options),
    )


def row_names(one: Subject, options: Options) -> list[str]:
    """Return what the rows of a figure are called: query, class and, where stacked, network."""
    stacked = options.layout == "stacked" and len(one.scene.records) > 1
    if not options.names and not stacked:
        return []
    names = []
    for number, place in enumerate(one.places):
        for title in one.scene.records if stacked else [""]:
            words = [named_query(one, number, place)] if options.names else []
            names.append(" \u00b7 ".join([*words, *([title] if title else [])]))
    return names


def named_query(one: Subject, number: int, place: Place) -> str:
    """Return a query's number, and the class that the first network predicts at its place."""
    if place.token:
        return f"{number + 1} {place.token}"
    if isfinite(place.x):
        for classes in one.scene.predictions.values():
            value = int(classes[int(place.y), int(place.x)])
            shade = next(one for one in shades_of(classes) if one.value == value)
            return f"{number + 1} {shade.name}"
    return str(number + 1)


def _queries(stem: str, subjects: Sequence[Subject], options: Options) -> Drawn:
    """Draw the furniture once and exchange the pictures: most of a figure's cost is in the rest."""
    (one,) = subjects
    rows, ranges = _rows_and_ranges(one, options)
    caption = numbers_in_words(one.scene) if options.caption else ""
    names, plate = row_names(one, options), None
    for number, (row, point) in enumerate(zip(rows, one.queries, strict=True)):
        if plate is None:
            plate = Plate(
                [row],
                ranges,
                options.look,
                [one.scene.frames[0]],
                caption=caption,
                letters=options.letters,
                names=names[:1],
            )
        else:
            plate.show([row], names[number : number + 1])
        yield query_stem(stem, number), plate, about([point], ranges, caption)


def _panels(stem: str, subjects: Sequence[Subject], options: Options) -> Drawn:
    (one,) = subjects
    rows, ranges = _rows_and_ranges(one, options)
    width = options.look.width / len(rows[0])  # as in the grid layout, so that both look alike
    for number, (row, query) in enumerate(zip(rows, one.queries, strict=True)):
        for panel in row:
            figure = panel_figure(panel, ranges, options.look, one.scene.frames[0], width)
            name = _panel_stem(stem, number, panel.group, panel.title)
            yield name, figure, about([query], ranges, "")
    for quantity, color_range in ranges.items():
        figure = bar_figure(color_range, options.look)
        yield f"{stem}.scale-{quantity.name}", figure, about([], ranges, "")


def _sheet(stem: str, subjects: Sequence[Subject], options: Options) -> Drawn:
    shown = [name for name in options.terms if name == "input" or name in MAPS]
    arrows = options.look.arrows
    rows = sheet_rows(
        [panel_rows(one.scene, one.queries, shown, arrows=arrows) for one in subjects]
    )
    ranges = color_ranges(maps_of(rows), options.look.scale)
    plate = Plate(rows, ranges, options.look, [one.scene.frames[0] for one in subjects])
    queries = [[noted(query) for query in one.queries] for one in subjects]
    yield stem, plate, {**about([], ranges, ""), "queries": queries}


def _atlas(stem: str, subjects: Sequence[Subject], options: Options) -> Drawn:
    (one,) = subjects
    shown: HeadMap = next(term for term in TERMS if term in options.terms)
    wall = Wall(shown=shown)
    for title, records in one.heads.items():
        if not records:
            raise ValueError(f"{title} has no attention with places in the picture to draw")
        heads = measure_heads(records)
        for number, place in enumerate(one.places):
            if isinstance(place.query, str):
                raise ValueError(
                    f"the atlas layout has queries in the picture, got the token {place.query!r}"
                )
            point = (place.x, place.y)
            figure = atlas_figure(
                heads, one.scene.frames[0], point, title=title, wall=wall, look=options.look
            )
            note = {"queries": [list(point)], "wall": wall._asdict()}
            yield _atlas_stem(stem, number, title), figure, note


def _atlas_of_means(stem: str, subjects: Sequence[Subject], options: Options) -> Drawn:
    """Draw what is the same for all queries: there is no query of several pictures."""
    (one,) = subjects
    wall = Wall(shown="mean" if "whole" in options.terms else "unary")
    for title, records in one.heads.items():
        if not records:
            raise ValueError(f"{title} has no attention with places in the picture to draw")
        means = one.means.get(title, HeadMeans())
        if not means.pictures:
            means.add(records)
        heads = means.over(measure_heads(records))
        said = sentence_of_means(means.pictures, heads, one.source.name)
        figure = atlas_figure(
            heads, one.scene.frames[0], None, title=title, said=said, wall=wall, look=options.look
        )
        note = {"wall": wall._asdict(), "means": {"count": means.pictures, "said": said}}
        yield _means_stem(stem, title), figure, note


def _nothing(_stem: str, _subjects: Sequence[Subject], _options: Options) -> Drawn:
    yield from ()  # the statistics of all inputs are drawn when all are known


def _strip(stem: str, subjects: Sequence[Subject], options: Options) -> Drawn:
    (one,) = subjects
    for number, strip in enumerate(strips(one, options.terms, options.look)):
        said = about([], strip.ranges, strip.caption)
        yield query_stem(stem, number), strip, {**said, "queries": [_in_frame(strip.place)]}


def _in_frame(place: Place) -> list[float | str]:
    return [place.frame, *([place.token] if place.token else (place.x, place.y))]


def _rows_and_ranges(one: Subject, options: Options) -> tuple[list[list[Panel]], Ranges]:
    rows = panel_rows(one.scene, one.queries, options.terms, arrows=options.look.arrows)
    return rows, color_ranges(maps_of(rows), options.look.scale)


def noted(query: Query) -> list[float] | str:
    """Return a query as notes have it: [x, y], or what a token is called."""
    return query if isinstance(query, str) else list(query)


def about(queries: Sequence[Query], ranges: Ranges, caption: str) -> Note:
    """Return what a note says of one drawing: its queries, what its colors mean, its caption."""
    said: Note = {
        "queries": [noted(query) for query in queries],
        "scale": {
            quantity.label: None
            if color_range.norm is None
            else [float(color_range.norm.vmin or 0), float(color_range.norm.vmax or 0)]
            for quantity, color_range in ranges.items()
        },
    }
    return {**said, "caption": caption} if caption else said


def query_stem(stem: str, number: int) -> str:
    """Return what the files of one query are called."""
    return f"{stem}.q{number + 1:02d}"


def _panel_stem(stem: str, number: int, title: str, term: str) -> str:
    middle = f".{safe_name(title)}" if title else ""
    return f"{query_stem(stem, number)}{middle}.{term}"


def _atlas_stem(stem: str, number: int, title: str) -> str:
    return f"{query_stem(stem, number)}.{safe_name(title)}.atlas"


def _means_stem(stem: str, title: str) -> str:
    return f"{stem}.{safe_name(title)}"


def _each_mean(stem: str, titles: Sequence[str], _options: Options) -> list[str]:
    return [_means_stem(stem, title) for title in titles]


def _each_wall(stem: str, titles: Sequence[str], options: Options) -> list[str]:
    numbers = range(options.query_count)
    return [_atlas_stem(stem, number, title) for title in titles for number in numbers]


def _whole(stem: str, _titles: Sequence[str], _options: Options) -> list[str]:
    return [stem]


def _each_query(stem: str, _titles: Sequence[str], options: Options) -> list[str]:
    return [query_stem(stem, number) for number in range(options.query_count)]


def _each_panel(stem: str, titles: Sequence[str], options: Options) -> list[str]:
    """Return the panels; color bars are left out: which there are depends on the maps."""
    stems = [
        _panel_stem(stem, number, "" if term in ("input", "labels") else title, term)
        for number in range(options.query_count)
        for title in titles
        for term in options.terms
    ]
    return list(dict.fromkeys(stems))


OF_PICTURES = {
    "grid": Layout(_whole, _grid),
    "stacked": Layout(_whole, _stacked),
    "queries": Layout(_each_query, _queries),
    "panels": Layout(_each_panel, _panels),
    "sheet": Layout(_whole, _sheet),
    "atlas": Layout(_each_wall, _atlas),
    "atlas-means": Layout(_each_mean, _atlas_of_means),
    "statistics": Layout(_whole, _nothing),
}
OF_CLIPS = {"grid": Layout(_each_query, _strip)}


def layout_of(options: Options, *, as_clip: bool) -> Layout:
    """Return the layout that is asked for."""
    return (OF_CLIPS if as_clip else OF_PICTURES)[options.layout]
