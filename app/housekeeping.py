"""What is tidied up when tabs close: their files, and, after the last one, all memory."""

from functools import cache

from streamlit.runtime import exists, get_instance

from nonlocal_lens.app.batch.networks import NETWORKS_KEPT
from nonlocal_lens.app.cache import RESULTS
from nonlocal_lens.app.line import line
from nonlocal_lens.app.pictures import DECODED
from nonlocal_lens.app.settings import settings
from nonlocal_lens.app.tabs import Tabs, current_tab, give_memory_back, is_open
from nonlocal_lens.app.uploads import shelves


@cache
def tabs() -> Tabs:
    """Return the tabs of this process, which are watched."""
    found = Tabs(is_open, settings().grace_s)
    found.when_one_goes += [shelves().leave, line().forget, _drop_uploads]
    found.when_none_is_left += [
        RESULTS.clear,
        DECODED.clear,
        NETWORKS_KEPT.clear,
        give_memory_back,
    ]
    found.watch()
    return found


def note_tab() -> None:
    """Note that the tab whose page is drawn is here."""
    if (tab := current_tab()) is not None:
        tabs().saw(tab)


def _drop_uploads(tab: str) -> None:
    """Let Streamlit forget the files that a tab brought: it keeps them in memory."""
    if exists():
        get_instance().uploaded_file_mgr.remove_session_files(tab)
