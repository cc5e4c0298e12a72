"""The web app: the command `nonlocal-lens` starts it."""

from pathlib import Path

import streamlit as st

from nonlocal_lens.app.components import meanwhile
from nonlocal_lens.app.server import imports

ICON = str(Path(__file__).parent / "icon.svg")

# Name in addresses -> icon. The first one is what the app opens with.
PAGES = {
    "explore": ":material/ads_click:",
    "layers": ":material/grid_view:",
    "compare": ":material/compare:",
    "video": ":material/movie:",
    "degeneracy": ":material/query_stats:",
    "export": ":material/image:",
    "guide": ":material/menu_book:",
}
FIRST = next(iter(PAGES))


def page_of(name: str, *, ready: bool) -> st.Page:
    """Return a page, or what stands there until all that it imports is ready."""
    # Not in a folder `pages`: Streamlit would open those by itself, without what stands here.
    waiting = meanwhile.first_maps if name == FIRST else meanwhile.skeleton
    return st.Page(
        f"screens/{name}.py" if ready else waiting,
        title=name.capitalize(),
        icon=PAGES[name],
        url_path=name,
        default=name == FIRST,
    )


st.set_page_config(page_title="Nonlocal Lens", page_icon=ICON, layout="wide")
st.logo(ICON)
st.html(Path(__file__).parent / "main.css")

ready = imports.are_done()
page = st.navigation([page_of(name, ready=ready) for name in PAGES], position="top")
if ready:
    from nonlocal_lens.app import housekeeping, session

    housekeeping.note_tab()
    page.run()
    session.settle()
else:  # it takes seconds at a cold start
    page.run()
    imports.wait()
    st.rerun()
