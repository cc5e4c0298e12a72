"""Work with a progress bar, how long it has left, and a button to cancel it."""

from collections.abc import Callable, Hashable
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from nonlocal_lens.app import cache
from nonlocal_lens.app.components.time_left import TimeLeft
from nonlocal_lens.app.markdown import literal

CANCELLED = "working-cancelled"  # where the session keeps the key of what was cancelled


def working(
    key: Hashable,
    shelf: cache.Shelf,
    label: str,
    make: Callable[[Callable[[int, int], None]], Any],
    places: tuple[DeltaGenerator, DeltaGenerator],
    what: str = "This clip",
) -> Any:
    """Return what is kept under a key, or make it with a progress bar and a button to cancel.

    Any change on the page ends the work, too: what is drawn while it goes on raises in between.

    Args:
        key: Of what is made.
        shelf: Where it is kept.
        label: What is done for every step of it.
        make: What makes it, telling how far it is.
        places: For the progress bar, and of what holds the place of maps until they come.
        what: It is made of, as the beginning of a sentence.
    """
    said, waiting = places
    if key in shelf:
        return shelf.get(key, lambda: make(lambda done, total: None))
    if st.session_state.get(CANCELLED) == key:
        waiting.empty()
        st.info("Cancelled.")
        st.button("Go on", on_click=st.session_state.pop, args=(CANCELLED, None))
        st.stop()
    place = said.empty()
    with place.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0, text=f"{label}…")
        st.button(
            "Cancel", key=f"cancel-{label}", on_click=_cancel, args=(key,), icon=":material/close:"
        )

    left = TimeLeft()

    def progress(done: int, total: int) -> None:
        bar.progress(done / total, text=f"{label} {done} of {total}{left.words(done, total)}…")

    try:
        made = shelf.get(key, lambda: make(progress))
    except (ValueError, OSError) as error:
        place.empty()
        waiting.empty()
        st.error(f"{what} cannot be used: {literal(str(error))}.")
        st.stop()
    place.empty()
    return made


def _cancel(key: Hashable) -> None:
    st.session_state[CANCELLED] = key
