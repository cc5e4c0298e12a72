"""The attention viewer in a Streamlit page."""

from pathlib import Path

import streamlit as st

_HERE = Path(__file__).parent

_mount = st.components.v2.component(
    "nonlocal_lens_viewer",
    js=(_HERE / "viewer.js").read_text(encoding="utf-8"),
    css=(_HERE / "viewer.css").read_text(encoding="utf-8"),
)


def attention_viewer(payload: bytes, *, key: str) -> int | None:
    """Show the viewer; return the flat position of the pinned query, or None.

    Hovering stays in the browser. Only pinning a query reruns the page (or the fragment).
    """
    state = _mount(data=payload, key=key, default={"query": None}, on_query_change=lambda: None)
    return state.query if isinstance(state.query, int) else None  # the browser's word, not ours
