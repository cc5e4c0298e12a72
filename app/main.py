"""The web app: `python -m app`."""

from pathlib import Path

import streamlit as st

st.set_page_config(
    page_title="Nonlocal Lens", page_icon=str(Path(__file__).parent / "icon.svg"), layout="wide"
)
st.html(  # less empty space on top, and columns that wrap before they get too narrow to read
    "<style>.stMainBlockContainer { padding-top: 3.75rem; padding-bottom: 2rem; }"
    ".stColumn { min-width: min(100%, 15rem) !important; }</style>"
)

st.navigation(
    [st.Page("pages/explore.py", title="Nonlocal Lens", icon=":material/ads_click:")]
).run()
