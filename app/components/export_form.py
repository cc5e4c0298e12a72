"""All options of an export as widgets; what is left alone is left out of the command."""

from collections.abc import Hashable, Sequence
from typing import Any

import streamlit as st

from analysis.figures.look import DPI_RANGE, MARKERS, STYLES, WIDTH_RANGE, font_families
from analysis.figures.panels import DEFAULT_SHOWN, SHOWN
from analysis.figures.queries import MOST_QUERIES
from analysis.render import PALETTES
from app.components.network_picker import offered_networks
from app.explored import Explored, Watched, query_text
from app.export.options import CLIP_TERMS, DRAWN, FORMATS, LAYOUTS, MOVIES
from app.networks import clip_networks, title_of
from app.session import usually

PINNED, AUTO, GRID = "Pinned", "Most different", "Grid"
DRAWN_ONLY = ("sheet", "statistics")
OF_PICTURES = tuple(name for name in FORMATS if name not in MOVIES)
SCALES = ("shared", "log", "per-map", "fixed")
PICTURE_BACKDROPS = ("none", "grey", "photo")
CLIP_SCALES = ("shared", "log", "fixed")  # one for all frames
CLIP_BACKDROPS = ("grey", "photo")  # the first is what maps of clips lie over anyway
MOST_ARROWS = 100
USUAL_OPACITY = 0.65  # over a backdrop
OF = "export is of"  # where the session keeps what the form was last filled in for

Given = dict[str, Any]


def choose_options(explored: Explored, block: str | None) -> Given:
    """Let the user choose what is drawn and how; return it as `Options.build` takes it.

    Args:
        explored: What is shown and pinned in Explore or Compare.
        block: Its block, where its network has several.
    """
    follow(explored)
    given: Given = {"inputs": [explored.picture.location]}
    given["networks"] = _choose_networks(offered_networks(), explored.networks)
    if given["networks"] == [explored.network]:
        given |= {"block": block, "head": explored.head}
    given["layout"] = st.selectbox(
        "Layout", list(LAYOUTS), format_func=lambda name: f"{name}: {LAYOUTS[name]}", key=LAYOUT
    )
    if given["layout"] != "statistics":
        given["queries"] = _choose_queries([query_text(point) for point in explored.points])
        labeled = explored.picture.location.startswith("rendered:")
        given["terms"] = st.multiselect(
            "Columns",
            [term for term in SHOWN if term != "labels" or labeled],
            key=usually("export-terms", list(DEFAULT_SHOWN)),
        )
    formats = DRAWN if given["layout"] in DRAWN_ONLY else OF_PICTURES
    given["formats"] = _among(formats, "export-formats")
    with st.expander("How it looks", expanded=True):
        given |= _choose_look(SCALES, PICTURE_BACKDROPS, BACKDROP)
    if given["layout"] in ("grid", "queries"):
        given["caption"] = st.toggle("Numbers under the figure", key="export-caption")
    return given


def choose_clip_options(watched: Watched) -> Given:
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
        "Maps", CLIP_TERMS, key=usually("export-clip-terms", list(CLIP_TERMS))
    )
    given["formats"] = _among(FORMATS, "export-clip-formats")
    given["track"] = st.toggle(
        "Queries follow what moves",
        key="export-track",
        help="By optical flow; for networks that look at images.",
    )
    with st.expander("How it looks", expanded=True):
        given |= _choose_look(CLIP_SCALES, CLIP_BACKDROPS, CLIP_BACKDROP)
    if given["backdrop"] == CLIP_BACKDROPS[0]:
        del given["backdrop"]
    return given


LAYOUT = "export-layout"


def follow(explored: Explored) -> None:
    """Fill the form in anew for what was shown last, once each time that changes."""
    if _filled_in_for(explored.networks, explored.picture.id, explored.points):
        return
    if "labels" in st.session_state.get("export-terms", []):
        st.session_state["export-terms"] = list(DEFAULT_SHOWN)


def follow_clip(watched: Watched) -> None:
    """Fill the form in anew for the clip that was shown last, once each time that changes."""
    if not _filled_in_for((watched.network,), watched.reel.id, watched.queries, watched.track):
        st.session_state["export-track"] = watched.track


def _filled_in_for(
    networks: tuple[str, ...], shown: Hashable, pinned: tuple[Any, ...], track: bool = False
) -> bool:
    """Return whether the form was filled in for this before; if not, choose networks and queries.

    What the user chose stays where it fits what is shown now.
    """
    of = (networks, shown, pinned, track)
    before = st.session_state.get(OF)
    if before == of:
        return True
    st.session_state[OF] = of
    if before is None or before[0] != networks:
        st.session_state["export-networks"] = list(networks)
    if before is None or bool(before[2]) != bool(pinned):
        st.session_state["export-queries"] = PINNED if pinned else AUTO
    return False


def _choose_networks(offered: list[str], shown: tuple[str, ...]) -> list[str]:
    """Let the user choose among the networks that are here; what is shown is among them."""
    options = list(dict.fromkeys([*offered, *shown]))
    kept = [name for name in st.session_state.get("export-networks", []) if name in options]
    st.session_state["export-networks"] = kept
    return st.multiselect("Networks", options, format_func=title_of, key="export-networks")


def _choose_queries(pinned: list[str]) -> list[str]:
    kinds = [PINNED, AUTO, GRID] if pinned else [AUTO, GRID]
    if st.session_state.get("export-queries") not in kinds:
        st.session_state["export-queries"] = kinds[0]
    kind = st.segmented_control("Queries", kinds, required=True, key="export-queries")
    if kind == PINNED:
        return pinned
    if kind == AUTO:
        count = st.number_input("How many", 1, MOST_QUERIES, key=usually("export-auto", 4))
        return [f"auto:{count}"]
    rows_column, columns_column = st.columns(2)
    rows = rows_column.number_input("Rows", 1, 20, key=usually("export-rows", 2))
    columns = columns_column.number_input("Columns", 1, 20, key=usually("export-columns", 2))
    return [f"grid:{rows}x{columns}"]


def _among(formats: tuple[str, ...], key: str) -> list[str]:
    """Let the user choose formats; those that another layout had are forgotten."""
    chosen = [kind for kind in st.session_state.get(key, ["png"]) if kind in formats]
    st.session_state[key] = chosen or ["png"]
    return st.pills("Formats", formats, selection_mode="multi", key=key)


def _choose_look(scales: Sequence[str], backdrops: Sequence[str], backdrop_key: str) -> Given:
    given: Given = {}
    left, right = st.columns(2)
    with left:
        given["style"] = st.selectbox("Style", list(STYLES), key="export-style")
        given["scale"] = _choose_scale(scales)
        given["colormap"] = st.selectbox("Color map", PALETTES, key=usually(COLORMAP, "inferno"))
        given["backdrop"] = st.selectbox(
            "Under the maps", backdrops, key=usually(backdrop_key, backdrops[0])
        )
        if given["backdrop"] != "none":
            opacity = st.slider("Opacity", 0.0, 1.0, key=usually(OPACITY, USUAL_OPACITY), step=0.05)
            given["opacity"] = None if opacity == USUAL_OPACITY else opacity
    with right:
        given["marker"] = st.selectbox("Query mark", MARKERS, key="export-marker")
        given["arrows"] = st.number_input("Arrows", 0, MOST_ARROWS, key="export-arrows")
        given["width_in"] = st.number_input(
            "Width, inches",
            *WIDTH_RANGE,
            key=usually("export-width", None),
            placeholder=f"{STYLES[given['style']].width_in:g}",
        )
        given["dpi"] = st.number_input("Dots per inch", *DPI_RANGE, key=usually("export-dpi", 300))
        given["font"] = st.selectbox(
            "Font",
            [None, *font_families()],
            format_func=lambda name: name or "DejaVu Sans (usual)",
            key="export-font",
        )
    return {name: value for name, value in given.items() if value is not None}


COLORMAP, OPACITY = "export-colormap", "export-opacity"
BACKDROP, CLIP_BACKDROP = "export-backdrop", "export-clip-backdrop"


def _choose_scale(kinds: Sequence[str]) -> str:
    if st.session_state.get("export-scale") not in kinds:
        st.session_state["export-scale"] = kinds[0]
    kind = st.selectbox("Scale", kinds, key="export-scale")
    if kind != "fixed":
        return kind
    low_column, high_column = st.columns(2)
    low = low_column.number_input("From", key=usually("export-low", 0.0))
    high = high_column.number_input("To", key=usually("export-high", 10.0))
    return f"fixed:{low:g},{high:g}"
