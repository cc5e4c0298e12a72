"""The web app: the command `nonlocal-lens` starts it."""

from pathlib import Path

import streamlit as st

from nonlocal_lens.app.components.skeleton import DRAWN
from nonlocal_lens.app.server import imports

ICON = str(Path(__file__).parent / "icon.svg")


def note_tab() -> None:
    """Note that this tab is here, once what pages import is: it takes seconds at a cold start."""
    if not imports.are_done():
        waiting = st.html(DRAWN)
        imports.wait()
        waiting.empty()
    from nonlocal_lens.app import housekeeping

    housekeeping.note_tab()


st.set_page_config(page_title="Nonlocal Lens", page_icon=ICON, layout="wide")
st.logo(ICON)
st.html(Path(__file__).parent / "main.css")
note_tab()

# Not in a folder `pages`: Streamlit would open those by itself, without what stands above.
st.navigation(
    [
        st.Page("screens/explore.py", title="Explore", icon=":material/ads_click:", default=True),
        st.Page("screens/layers.py", title="Layers", icon=":material/grid_view:"),
        st.Page("screens/compare.py", title="Compare", icon=":material/compare:"),
        st.Page("screens/video.py", title="Video", icon=":material/movie:"),
        st.Page("screens/degeneracy.py", title="Degeneracy", icon=":material/query_stats:"),
        st.Page("screens/export.py", title="Export", icon=":material/image:"),
        st.Page("screens/guide.py", title="Guide", icon=":material/menu_book:"),
    ],
    position="top",
).run()
