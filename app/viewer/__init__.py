"""The attention viewer in a Streamlit page."""

import streamlit as st

from nonlocal_lens.app.viewer.bundle import viewer_css, viewer_js
from nonlocal_lens.app.viewer.payload import config_of, with_view
from nonlocal_lens.app.viewer.view import View, read_view

_mount = st.components.v2.component("nonlocal_lens_viewer", js=viewer_js(), css=viewer_css())


def show_viewer(payload: bytes, *, key: str, view: View | None = None) -> View:
    """Show the viewer; return all its pinned queries, and its settings: as given, until it is used.

    Args:
        payload: See payload.py.
        key: Names the viewer among others on the page.
        view: What it opens with. The viewer goes its own way from there: only a view that differs
            from the one given before is taken over. Giving one sends the payload again.
    """
    data = payload if view is None else with_view(payload, view)
    opened = read_view(config_of(payload).get("view")) if view is None else view
    state = _mount(data=data, key=key, default={"view": None}, on_view_change=lambda: None)
    said = read_view(state.view)
    return opened if said == View() else said
