"""What a session remembers, whatever page is shown: choices live here, not in the widgets.

Streamlit forgets a widget's value as soon as a page without the widget has run. So widgets here
only show a choice and write it back: what was chosen on one page is there on every other.
"""

from collections.abc import Container
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

CHOICES = "choices"  # where the session keeps what was chosen, by name
_SHOWN = "choices shown"  # what widgets were last told to show, by their key
_PAGE, _OPENING, _SETTLED = "page", "opening", "settled opening"


def chosen(name: str, first: Any = None) -> Any:
    """Return a choice; `first` if nothing was chosen."""
    return _choices().get(name, first)


def choose(name: str, value: Any) -> None:
    """Make a choice; to be called before the widget that shows it is drawn."""
    _choices()[name] = value


def forget(name: str) -> None:
    """Take a choice back; to be called before the widget that shows it is drawn."""
    _choices().pop(name, None)


def kept(
    name: str, first: Any = None, *, among: Container[Any] | None = None, key: str | None = None
) -> dict[str, Any]:
    """Arguments of a widget that make it show a choice and write it back.

    Args:
        name: Of the choice, in the whole session.
        first: What is shown before anything is chosen.
        among: What can be chosen here; a choice that is not among it is kept, but not shown. Of a
            list of choices, those are shown that are.
        key: Of the widget, if it is not called as the choice.
    """
    key = key or name
    shown: dict[str, Any] = st.session_state.setdefault(_SHOWN, {})
    if key in st.session_state and key not in shown and name not in _choices():
        choose(name, st.session_state[key])  # set from outside, before it was first drawn
    value = chosen(name, first)
    if among is not None:
        if isinstance(value, list | tuple):
            value = [one for one in value if one in among] or (first if value else [])
        elif value not in among:
            value = first
    # A widget on a page that just opened is a new one, which knows nothing of what its key held on
    # another page, and shows its first value unless it is told.
    if not _is_settled() or key not in st.session_state or st.session_state[key] != value:
        st.session_state[key] = value
    shown[key] = value
    return {"key": key, "on_change": _take, "args": (name, key)}


def kept_open(name: str) -> dict[str, Any]:
    """Arguments of an expander that stays as its user left it, closed at first."""
    return kept(name, False)


def arrived(page: str) -> bool:
    """Note which page is shown; return whether it was just opened: its address may say how.

    That is: another page was shown before, nothing was, or the browser went back or forward. A pin
    or another choice on the page is none of these.
    """
    context = get_script_run_ctx()
    by_history = bool(getattr(context, "is_history_navigation", False))
    opened = st.session_state.get(_PAGE) != page or by_history
    st.session_state[_PAGE] = page
    if opened:
        st.session_state[_OPENING] = opening() + 1
    return opened


def opening() -> int:
    """Return how many times a page was opened: what a page opens with is fixed until the next."""
    return int(st.session_state.get(_OPENING, 0))


def settle() -> None:
    """Note that the open page was drawn to its end: its widgets show what they were told."""
    st.session_state[_SETTLED] = opening()


def _is_settled() -> bool:
    return bool(st.session_state.get(_SETTLED) == opening())


def _choices() -> dict[str, Any]:
    kept_choices: dict[str, Any] = st.session_state.setdefault(CHOICES, {})
    return kept_choices


def _take(name: str, key: str) -> None:
    """Take over what a widget shows: its user changed it."""
    choose(name, st.session_state[key])
