"""The film strip in a Streamlit page."""

from pathlib import Path
from typing import NamedTuple

import streamlit as st

from app.viewer.bundle import joined

HERE = Path(__file__).parent
VIEWER = HERE.parent / "viewer"

FILM_STRIP = (
    VIEWER / "buffer.js",
    VIEWER / "attention.js",
    VIEWER / "color.js",
    VIEWER / "geometry.js",
    HERE / "filmstrip.js",
)
"""The film strip's modules, and those of the viewer that it is made of."""

_mount = st.components.v2.component(
    "nonlocal_lens_filmstrip",
    js=joined((*FILM_STRIP, HERE / "streamlit.js")),
    css=(HERE / "filmstrip.css").read_text(encoding="utf-8"),
)


class Pick(NamedTuple):
    """A pinned query."""

    frame: int
    x: float  # image pixels
    y: float
    follow: bool  # whether it moves with the picture


def film_strip(payload: bytes, *, key: str) -> Pick | None:
    """Show the film strip; return the pinned query, or None.

    Hovering and playing stay in the browser. Only pinning reruns the page (or the fragment).
    """
    state = _mount(data=payload, key=key, default={"pick": None}, on_pick_change=lambda: None)
    pick = state.pick
    try:  # the browser's word, not ours
        return Pick(int(pick["frame"]), float(pick["x"]), float(pick["y"]), pick["follow"] is True)
    except (KeyError, TypeError, ValueError):
        return None
