"""The viewer as a component of Streamlit; it needs neither torch nor what made a payload."""

from typing import Any

import streamlit as st

from nonlocal_lens.app.viewer.bundle import viewer_css, viewer_js

_mount = st.components.v2.component("nonlocal_lens_viewer", js=viewer_js(), css=viewer_css())


def mount(payload: bytes, key: str) -> Any:
    """Show the viewer; return what it says of its view, None until it is used.

    Args:
        payload: See payload.py.
        key: Names the viewer among others on the page.
    """
    state = _mount(data=payload, key=key, default={"view": None}, on_view_change=lambda: None)
    return state.view
