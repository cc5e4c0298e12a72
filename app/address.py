"""The address of a page: what it said when the page was opened, and what is shown there now."""

from collections.abc import Sequence

import streamlit as st

from app.link import Link, read, write
from app.markdown import literal
from app.viewer.view import View


def opened_link(page: str, networks: Sequence[str]) -> tuple[Link, bool]:
    """Return what the address said when a page was opened, and whether that is just now.

    A notice says what was ignored.

    Args:
        page: Names the page; each has its own.
        networks: The networks that it can show.
    """
    key, notices_key = f"{page}_link", f"{page}_notices"
    just_now = key not in st.session_state
    if just_now:
        st.session_state[key], st.session_state[notices_key] = read(
            st.query_params.to_dict(), networks
        )
    for notice in st.session_state[notices_key]:
        st.warning(f"{literal(notice)}.")
    return st.session_state[key], just_now


def meant_view(link: Link, picture_id: str, networks: tuple[str, ...]) -> View:
    """Return what a link says of the view, if it is about this picture and these networks."""
    meant = link.picture in (None, picture_id) and link.networks in ((), networks)
    return link.view if meant else View()


def keep_address(link: Link) -> None:
    """Let the address say what is shown."""
    params = write(link)
    if st.query_params.to_dict() != params:
        st.query_params.from_dict(params)
