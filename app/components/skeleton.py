"""What stands where maps will be, on a page that has none to leave there meanwhile."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from nonlocal_lens.app.session import opening

PANELS = 4  # the photo and its maps
DRAWN = f'<div class="nl-skeleton" role="status">Loading maps{"<i></i>" * PANELS}</div>'
_SHOWN = "maps shown at"  # where the session keeps when maps last were on a page


def skeleton(page: str) -> DeltaGenerator:
    """Hold the place of maps on a page that just opened; return what is to be emptied for them.

    It is seen only if they take longer than a second (see `main.css`): a page that answers at once
    does not flicker. A page that shows maps already keeps these, dimmed, until the new ones come.
    """
    place = st.empty()
    at = (page, opening())
    if st.session_state.get(_SHOWN) != at:
        st.session_state[_SHOWN] = at
        place.html(DRAWN)
    return place


def keep_maps(page: str) -> None:
    """Note that a page's maps are there before it opens: they stay until it shows its own."""
    st.session_state[_SHOWN] = (page, opening() + 1)
