"""The wall in a Streamlit page: a component shows it, the same one brings its parts."""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from nonlocal_lens.app.atlas.bundle import atlas_css, atlas_js

_mount = st.components.v2.component("nonlocal_lens_atlas", js=atlas_js(), css=atlas_css())


def show_wall(
    first: bytes,
    *,
    key: str,
    opened: Callable[[str], None],
    compared: Callable[[Sequence[str]], None],
) -> dict[str, Any] | None:
    """Show the wall; return what is chosen on it, None until something is.

    Args:
        first: The first part, see payload.py.
        key: Names the wall among others of the session.
        opened: Told the title of a head that was clicked, before the page runs again.
        compared: Told the titles of the heads that are to stand side by side.
    """

    def told(name: str) -> Any:
        return getattr(st.session_state.get(key), name, None)

    def open_head() -> None:
        title = told("open")
        if isinstance(title, str):
            opened(title)

    def compare_heads() -> None:
        titles = told("compare")
        if isinstance(titles, list | tuple):
            compared([title for title in titles if isinstance(title, str)])

    state = _mount(
        data=first,
        key=key,
        default={"view": None},
        on_view_change=lambda: None,
        on_open_change=open_head,
        on_compare_change=compare_heads,
    )
    view = state.view
    return dict(view) if isinstance(view, dict) or hasattr(view, "keys") else None


def bring_part(payload: bytes, *, key: str) -> None:
    """Bring the wall one of its parts; nothing of it is seen by itself."""
    _mount(data=payload, key=key, on_view_change=lambda: None)
