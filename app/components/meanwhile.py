"""What pages show while what they need is still being imported; it needs none of that itself."""

import streamlit as st

from nonlocal_lens.app.components import places
from nonlocal_lens.app.components.skeleton import DRAWN, keep_maps
from nonlocal_lens.app.components.tour import tour
from nonlocal_lens.app.first_maps import kept
from nonlocal_lens.app.viewer.component import mount

COMING = "The maps are live: point at the photo, or tap it. The numbers come in a moment."


def skeleton() -> None:
    """Hold the place of what a page will show."""
    st.html(DRAWN)


def first_maps() -> None:
    """Show the maps that Explore opens with, where Explore puts them; a skeleton if it is a link's.

    The viewer is the one that Explore will show, so that it keeps what was done in it meanwhile.
    """
    if st.query_params:
        skeleton()
        return
    tour()
    with places.bar():
        st.html("<i></i>")  # what is empty has no height
    with st.container():  # the fragment
        with places.headline(1):
            st.html(f'<div class="nl-headline" role="status"><p>{COMING}</p></div>')
        with st.container():
            st.empty()  # the skeleton
            mount(kept(), places.viewer_key(0))
    keep_maps("explore")
