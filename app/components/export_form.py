"""All options of an export as widgets; what is left alone is left out of the command."""

from collections.abc import Hashable, Sequence
from typing import Any

import streamlit as st

from nonlocal_lens.analysis.figures.look import (
    DPI_RANGE,
    MARKERS,
    STYLES,
    WIDTH_RANGE,
    font_families,
)
from nonlocal_lens.analysis.figures.panels import DEFAULT_SHOWN, SHOWN
from nonlocal_lens.analysis.figures.queries import MOST_QUERIES
from nonlocal_lens.analysis.render import PALETTES
from nonlocal_lens.app.address import networks_field
from nonlocal_lens.app.address_fields import Field, flag, number, one_of, some_of
from nonlocal_lens.app.components.network_picker import offered_networks
from nonlocal_lens.app.export.formats import DRAWN, FORMATS, MOVIES
from nonlocal_lens.app.export.options import CLIP_TERMS, DRAWN_ONLY, LAYOUTS
from nonlocal_lens.app.networks import clip_networks, title_of
from nonlocal_lens.app.session import choose, chosen, kept
from nonlocal_lens.app.shown import ShownClip, ShownPicture, query_text
from nonlocal_lens.app.viewer.view import View
from nonlocal_lens.app.views import looks

PINNED, AUTO, GRID = "Pinned", "Most different", "Grid"
OF_PICTURES = tuple(name for name in FORMATS if name not in MOVIES)
SCALES = ("shared", "log", "per-map", "fixed")
PICTURE_BACKDROPS = ("none", "gray", "photo")
CLIP_SCALES = ("shared", "log", "fixed")  # one for all frames
CLIP_BACKDROPS = ("gray", "photo")  # the first is what maps of clips lie over anyway
MOST_ARROWS = 100
MOST_SIDE = 20  # rows or columns of a grid of queries
USUAL_OPACITY = 0.65  # over a backdrop, where a command does not say
OF = "export is of"  # where the session keeps what the form was last filled in for

Given = dict[str, Any]


def choose_options(explored: ShownPicture, block: str | None) -> Given:
    """Let the user choose what is drawn and how; return it as `Options.build` takes it.

    Args:
        explored: What is shown and pinned in Explore or Compare.
        block: Its block, where its network has several.
    """
    follow(explored)
    given: Given = {"inputs": [explored.picture.location]}
    given["networks"] = _choose_networks(offered_networks(), explored.networks)
    if given["networks"] == [explored.network]:
        given |= explored.part._asdict() | {"block": block}
    given["layout"] = st.selectbox(
        "Layout",
        list(LAYOUTS),
        format_func=lambda name: f"{name}: {LAYOUTS[name]}",
        **kept(LAYOUT, next(iter(LAYOUTS))),
    )
    if given["layout"] != "statistics":
        given["queries"] = _choose_queries([query_text(spot) for spot in explored.spots])
        labeled = explored.picture.location.startswith("rendered:")
        columns = [term for term in SHOWN if term != "labels" or labeled]
        given["terms"] = st.multiselect(
            "Columns", columns, **kept("export-terms", list(DEFAULT_SHOWN), among=columns)
        )
    formats = DRAWN if given["layout"] in DRAWN_ONLY else OF_PICTURES
    given["formats"] = _among(formats, "export-formats")
    with st.expander("How it looks", expanded=True):
        given |= _choose_look(SCALES, PICTURE_BACKDROPS, BACKDROP)
    if given["layout"] in ("grid", "stacked", "queries"):
        given["caption"] = st.toggle("Numbers under the figure", **kept("export-caption", False))
        given["names"] = st.toggle(
            "Number and class of each query", **kept("export-names", len(explored.spots) > 1)
        )
        given["letters"] = st.toggle("Letters on the panels", **kept("export-letters", False))
    return given


def choose_clip_options(watched: ShownClip) -> Given:
    """Let the user choose what is drawn of a clip and how; return it as `Options.build` takes it.

    Args:
        watched: What is shown and pinned in Video.
    """
    follow_clip(watched)
    given: Given = {"inputs": [watched.reel.location], **dict(watched.chosen)}
    offered = list(dict.fromkeys([*clip_networks(), *offered_networks()]))
    given["networks"] = _choose_networks(offered, (watched.network,))
    given["queries"] = _choose_queries([query_text(query) for query in watched.queries])
    given["terms"] = st.multiselect(
        "Maps", CLIP_TERMS, **kept("export-clip-terms", list(CLIP_TERMS))
    )
    given["formats"] = _among(tuple(FORMATS), "export-clip-formats")
    given["track"] = st.toggle(
        "Queries follow what moves",
        **kept("export-track", False),
        help="By optical flow; for networks that look at images.",
    )
    with st.expander("How it looks", expanded=True):
        given |= _choose_look(CLIP_SCALES, CLIP_BACKDROPS, CLIP_BACKDROP)
    if given["backdrop"] == CLIP_BACKDROPS[0]:
        del given["backdrop"]
    return given


LAYOUT = "export-layout"


def filled_in_for(explored: ShownPicture) -> bool:
    """Return whether the form was filled in for this before, and note that it is from now on."""
    return _noted((explored.networks, explored.picture.id, explored.spots, False))


def filled_in_for_clip(watched: ShownClip) -> bool:
    """Return whether the form was filled in for this before, and note that it is from now on."""
    return _noted(((watched.network,), watched.reel.id, watched.queries, watched.track))


def _noted(of: Hashable) -> bool:
    before = st.session_state.get(OF)
    st.session_state[OF] = of
    return bool(before == of)


def follow(explored: ShownPicture) -> None:
    """Fill the form in anew for what was shown last, once each time that changes."""
    before = st.session_state.get(OF)
    if not filled_in_for(explored):
        _fill_in(before, explored.networks, explored.spots)
    if looks_changed():
        _take_looks(looks())


def follow_clip(watched: ShownClip) -> None:
    """Fill the form in anew for the clip that was shown last, once each time that changes."""
    before = st.session_state.get(OF)
    if not filled_in_for_clip(watched):
        _fill_in(before, (watched.network,), watched.queries)
        choose("export-track", watched.track)
    if looks_changed():
        _take_looks(looks())


def _fill_in(before: Any, networks: tuple[str, ...], pinned: tuple[Any, ...]) -> None:
    """Choose networks and queries; what the user chose stays where it fits what is shown now."""
    if before is None or before[0] != networks:
        choose("export-networks", list(networks))
    if before is None or bool(before[2]) != bool(pinned):
        choose("export-queries", PINNED if pinned else AUTO)


def looks_changed() -> bool:
    """Return whether maps look otherwise in the viewer than they did, and note how they look."""
    before, now = st.session_state.get(LOOKS_OF), looks().settings
    st.session_state[LOOKS_OF] = now
    return before != now


def _take_looks(view: View) -> None:
    """Let figures look as maps do in the viewer, as far as its user changed that there."""
    fixed = view.scale == "fixed"
    taken = {
        COLORMAP: view.palette,
        OPACITY: view.opacity,
        SCALE: view.scale,
        LOW: 0.0 if fixed else None,
        HIGH: view.fixed if fixed else None,
        BACKDROP: {True: "gray", False: "photo"}.get(view.gray),
        ARROWS: view.arrow_count if view.arrows else 0,
        ON_PICTURE: view.on_picture,
    }
    for name, value in taken.items():
        if value is not None and chosen(name, FIRST.get(name)) != value:
            choose(name, value)


def form_fields() -> list[Field]:
    """Return what an address names of the form: all that differs from how it opens."""
    formats = tuple(FORMATS)
    return [
        networks_field("figure-networks", "export-networks"),
        one_of("figure-layout", LAYOUT, list(LAYOUTS)),
        one_of("figure-queries", "export-queries", (PINNED, AUTO, GRID)),
        number("figure-auto", "export-auto", 1, MOST_QUERIES),
        number("figure-rows", "export-rows", 1, MOST_SIDE),
        number("figure-columns", "export-columns", 1, MOST_SIDE),
        some_of("figure-maps", "export-terms", SHOWN),
        some_of("figure-clip-maps", "export-clip-terms", CLIP_TERMS),
        some_of("figure-formats", "export-formats", formats),
        some_of("figure-clip-formats", "export-clip-formats", formats),
        flag("figure-caption", "export-caption"),
        flag("figure-names", "export-names"),
        flag("figure-letters", "export-letters"),
        flag("figure-real", "export-real"),
        flag("figure-on-picture", ON_PICTURE),
        flag("figure-track", "export-track"),
        one_of("figure-style", "export-style", list(STYLES)),
        one_of("figure-scale", SCALE, SCALES),
        number("figure-low", LOW, -1e6, 1e6, whole=False),
        number("figure-high", HIGH, -1e6, 1e6, whole=False),
        one_of("figure-colors", COLORMAP, PALETTES),
        one_of("figure-under", BACKDROP, PICTURE_BACKDROPS),
        one_of("figure-under-clip", CLIP_BACKDROP, CLIP_BACKDROPS),
        number("figure-opacity", OPACITY, 0, 1, whole=False),
        one_of("figure-mark", "export-marker", MARKERS),
        number("figure-arrows", ARROWS, 0, MOST_ARROWS),
        number("figure-width", "export-width", *WIDTH_RANGE, whole=False),
        number("figure-dpi", "export-dpi", *DPI_RANGE),
        one_of("figure-font", "export-font", font_families()),
    ]


def _choose_networks(offered: list[str], shown: tuple[str, ...]) -> list[str]:
    """Let the user choose among the networks that are here; what is shown is among them."""
    options = list(dict.fromkeys([*offered, *shown]))
    return st.multiselect(
        "Networks",
        options,
        format_func=title_of,
        **kept("export-networks", list(shown), among=options),
    )


def _choose_queries(pinned: list[str]) -> list[str]:
    kinds = [PINNED, AUTO, GRID] if pinned else [AUTO, GRID]
    kind = st.segmented_control(
        "Queries", kinds, required=True, **kept("export-queries", kinds[0], among=kinds)
    )
    if kind == PINNED:
        return pinned
    if kind == AUTO:
        count = st.number_input("How many", 1, MOST_QUERIES, **kept("export-auto", 4))
        return [f"auto:{count}"]
    rows_column, columns_column = st.columns(2)
    rows = rows_column.number_input("Rows", 1, MOST_SIDE, **kept("export-rows", 2))
    columns = columns_column.number_input("Columns", 1, MOST_SIDE, **kept("export-columns", 2))
    return [f"grid:{rows}x{columns}"]


def _among(formats: tuple[str, ...], key: str) -> list[str]:
    """Let the user choose formats; those that another layout had are forgotten."""
    return st.pills("Formats", formats, selection_mode="multi", **kept(key, ["png"], among=formats))


def _choose_look(scales: Sequence[str], backdrops: Sequence[str], backdrop_key: str) -> Given:
    given: Given = {}
    left, right = st.columns(2)
    with left:
        given["style"] = st.selectbox(
            "Style", list(STYLES), **kept("export-style", next(iter(STYLES)))
        )
        given["scale"] = _choose_scale(scales)
        given["colormap"] = st.selectbox("Color map", PALETTES, **kept(COLORMAP, FIRST[COLORMAP]))
        given["backdrop"] = st.selectbox(
            "Under the maps", backdrops, **kept(backdrop_key, FIRST.get(backdrop_key, backdrops[0]))
        )
        if given["backdrop"] != "none":
            opacity = st.slider("Opacity", 0.0, 1.0, **kept(OPACITY, FIRST[OPACITY]), step=0.05)
            given["opacity"] = None if opacity == USUAL_OPACITY else opacity
    with right:
        given["marker"] = st.selectbox("Query mark", MARKERS, **kept("export-marker", "ring"))
        given["arrows"] = st.number_input("Arrows", 0, MOST_ARROWS, **kept(ARROWS, 0))
        given["width_in"] = st.number_input(
            "Width, inches",
            *WIDTH_RANGE,
            **kept("export-width", None),
            placeholder=f"{STYLES[given['style']].width_in:g}",
        )
        given["dpi"] = st.number_input("Dots per inch", *DPI_RANGE, **kept("export-dpi", 300))
        given["font"] = st.selectbox(
            "Font",
            [None, *font_families()],
            format_func=lambda name: name or "DejaVu Sans (usual)",
            **kept("export-font"),
        )
    given["on_picture"] = st.toggle(
        "Of what falls on the picture",
        **kept(ON_PICTURE, FIRST[ON_PICTURE]),
        help="Maps leave out class tokens, registers and words, and say so.",
    )
    return {name: value for name, value in given.items() if value is not None}


COLORMAP, OPACITY, ARROWS = "export-colormap", "export-opacity", "export-arrows"
ON_PICTURE = "export-on-picture"
BACKDROP, CLIP_BACKDROP = "export-backdrop", "export-clip-backdrop"
SCALE, LOW, HIGH = "export-scale", "export-low", "export-high"
LOOKS_OF = "export looks as"  # where the session keeps how the viewer's maps looked last

FIRST = {
    COLORMAP: "viridis",
    OPACITY: 0.75,
    BACKDROP: "gray",
    SCALE: "shared",
    ARROWS: 0,
    ON_PICTURE: False,
}
"""How figures look before anything is chosen: as maps do in the viewer."""


def _choose_scale(kinds: Sequence[str]) -> str:
    kind: str = st.selectbox("Scale", kinds, **kept(SCALE, kinds[0], among=kinds))
    if kind != "fixed":
        return kind
    low_column, high_column = st.columns(2)
    low = low_column.number_input("From", **kept(LOW, 0.0))
    high = high_column.number_input("To", **kept(HIGH, 10.0))
    return f"fixed:{low:g},{high:g}"
