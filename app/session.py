"""What a session remembers when another page is visited."""

from typing import Any

import streamlit as st

KEPT = ("explore-", "survey-", "export-")
"""How keys of widgets begin whose choices are kept; buttons and uploads must not be among them."""


def keep_choices() -> None:
    """Keep the choices of the pages that are not shown; Streamlit forgets them otherwise."""
    for key in list(st.session_state):
        if str(key).startswith(KEPT):
            st.session_state[key] = st.session_state[key]


def usually(key: str, choice: Any) -> str:
    """Return a widget's key, with its first choice made; a widget's own default forbids keeping."""
    st.session_state.setdefault(key, choice)
    return key
