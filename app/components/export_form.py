"""All options of an export as widgets; what is left alone is left out of the command."""

from typing import Any

import streamlit as st

from analysis.figures.look import BACKDROPS, DPI_RANGE, MARKERS, STYLES, WIDTH_RANGE, font_families
from analysis.figures.panels import DEFAULT_SHOWN, SHOWN
from analysis.figures.queries import MOST_QUERIES
from analysis.render import PALETTES
from app.components.network_picker import offered_networks
from app.explored import Explored
from app.export.options import DRAWN, FORMATS, LAYOUTS
from app.networks import title_of
from app.session import usually

PINNED, AUTO, GRID = "Pinned", "Most different", "Grid"
DRAWN_ONLY = ("sheet", "statistics")
OF_PICTURES = tuple(name for name in FORMATS if name not in ("mp4", "gif"))
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
    given["networks"] = st.multiselect(
        "Networks", offered_networks(), format_func=title_of, key="export-networks"
    )
    if given["networks"] == [explored.network]:
        given |= {"block": block, "head": explored.head}
    given["layout"] = st.selectbox(
        "Layout", list(LAYOUTS), format_func=lambda name: f"{name}: {LAYOUTS[name]}", key=LAYOUT
    )
    if given["layout"] != "statistics":
        given["queries"] = _choose_queries(explored)
        labeled = explored.picture.location.startswith("rendered:")
        given["terms"] = st.multiselect(
            "Columns",
            [term for term in SHOWN if term != "labels" or labeled],
            key=usually("export-terms", list(DEFAULT_SHOWN)),
        )
    formats = DRAWN if given["layout"] in DRAWN_ONLY else OF_PICTURES
    given["formats"] = _among(formats, "export-formats")
    with st.expander("How it looks", expanded=True):
        given |= _choose_look()
    if given["layout"] in ("grid", "queries"):
        given["caption"] = st.toggle("Numbers under the figure", key="export-caption")
    return given


LAYOUT = "export-layout"


def follow(explored: Explored) -> None:
    """Fill the form in anew for what was shown last, once each time that changes."""
    of = (explored.networks, explored.picture.id, explored.points)
    if st.session_state.get(OF) == of:
        return
    before, st.session_state[OF] = st.session_state.get(OF), of
    if before is None or before[0] != explored.networks:
        st.session_state["export-networks"] = list(explored.networks)
    if before is None or bool(before[2]) != bool(explored.points):
        st.session_state["export-queries"] = PINNED if explored.points else AUTO
    if "labels" in st.session_state.get("export-terms", []):
        st.session_state["export-terms"] = list(DEFAULT_SHOWN)


def _choose_queries(explored: Explored) -> list[str]:
    kinds = [PINNED, AUTO, GRID] if explored.points else [AUTO, GRID]
    if st.session_state.get("export-queries") not in kinds:
        st.session_state["export-queries"] = kinds[0]
    kind = st.segmented_control("Queries", kinds, required=True, key="export-queries")
    if kind == PINNED:
        return [f"{x:g},{y:g}" for x, y in explored.points]
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


def _choose_look() -> Given:
    given: Given = {}
    left, right = st.columns(2)
    with left:
        given["style"] = st.selectbox("Style", list(STYLES), key="export-style")
        given["scale"] = _choose_scale()
        given["colormap"] = st.selectbox("Color map", PALETTES, key=usually(COLORMAP, "inferno"))
        given["backdrop"] = st.selectbox(
            "Under the maps", BACKDROPS, key=usually("export-backdrop", "none")
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


def _choose_scale() -> str:
    kind = st.selectbox("Scale", ["shared", "log", "per-map", "fixed"], key="export-scale")
    if kind != "fixed":
        return kind
    low_column, high_column = st.columns(2)
    low = low_column.number_input("From", key=usually("export-low", 0.0))
    high = high_column.number_input("To", key=usually("export-high", 10.0))
    return f"fixed:{low:g},{high:g}"
