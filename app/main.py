"""The web app: `python -m app`."""

from pathlib import Path

import streamlit as st

from app.session import keep_choices

ICON = str(Path(__file__).parent / "icon.svg")

st.set_page_config(page_title="Nonlocal Lens", page_icon=ICON, layout="wide")
st.logo(ICON)
st.html(  # less empty space on top, and columns that wrap before they get too narrow to read
    "<style>.stMainBlockContainer { padding-top: 4.25rem; padding-bottom: 2rem; }"
    ".stColumn { min-width: min(100%, 15rem) !important; }"
    ".stColumn .stColumn { min-width: min(100%, 9rem) !important; }</style>"
)
keep_choices()

# Not in a folder `pages`: Streamlit would open those by itself, without what stands above.
st.navigation(
    [
        st.Page("screens/explore.py", title="Explore", icon=":material/ads_click:", default=True),
        st.Page("screens/compare.py", title="Compare", icon=":material/compare:"),
        st.Page("screens/video.py", title="Video", icon=":material/movie:"),
        st.Page("screens/degeneracy.py", title="Degeneracy", icon=":material/query_stats:"),
        st.Page("screens/export.py", title="Export", icon=":material/image:"),
    ],
    position="top",
).run()
