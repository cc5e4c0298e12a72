"""The viewer of a payload in a Streamlit page."""

from nonlocal_lens.app.viewer.component import mount
from nonlocal_lens.app.viewer.payload import config_of, with_view
from nonlocal_lens.app.viewer.view import View, read_view


def show_viewer(payload: bytes, *, key: str, view: View | None = None) -> View:
    """Show the viewer; return all its pinned queries, and its settings: as given, until it is used.

    Args:
        payload: See payload.py.
        key: Names the viewer among others on the page.
        view: What it opens with. The viewer goes its own way from there: only a view that differs
            from the one given before is taken over. Giving one sends the payload again.
    """
    data = payload if view is None else with_view(payload, view)
    opened = read_view(config_of(payload).get("view")) if view is None else view
    said = read_view(mount(data, key))
    return opened if said == View() else said
