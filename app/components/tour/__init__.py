"""Five steps for who is here for the first time; skipped or seen, they never come again."""

from pathlib import Path

import streamlit as st

from nonlocal_lens.app.viewer.bundle import HERE as VIEWER
from nonlocal_lens.app.viewer.bundle import joined

HERE = Path(__file__).parent

_mount = st.components.v2.component(
    "nonlocal_lens_tour",
    js=joined((VIEWER / "elements.js", HERE / "tour.js")),
    css=(HERE / "tour.css").read_text(encoding="utf-8"),
)


def tour() -> None:
    """Offer the tour where the browser does not remember it; it lies over the page."""
    _mount(key="tour")
