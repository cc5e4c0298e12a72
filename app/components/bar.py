"""The thin bar above the maps: which picture, through which network. The same on every page."""

import streamlit as st

from nonlocal_lens.app.components.picture_picker import (
    OPTIONS,
    PICTURE,
    RENDERED,
    UPLOAD_MEGABYTES,
    bring_picture,
    current_picture,
    open_picture,
    option_label,
    show_refusal,
    take_picture,
)
from nonlocal_lens.app.components.shelf import Dropped, picture_shelf
from nonlocal_lens.app.pictures import Picture, known_picture
from nonlocal_lens.app.session import kept


def show_shelf() -> None:
    """Show the thumbnails; what is chosen or dropped is open when the page runs."""
    shown = current_picture()
    picture_shelf(None if shown is None else shown.id, UPLOAD_MEGABYTES, _open)
    show_refusal()


def _open(taken: str | Dropped) -> None:
    if isinstance(taken, Dropped):
        take_picture(taken.data, taken.name)
    elif (picture := known_picture(taken)) is not None:
        open_picture(picture)


def choose_picture_in_bar() -> Picture | None:
    """Let the user choose a picture by name, or bring one; None until there is one."""
    option = st.selectbox(
        "Picture",
        OPTIONS,
        format_func=option_label,
        label_visibility="collapsed",
        width=190,
        **kept(PICTURE, RENDERED, among=OPTIONS),
    )
    return bring_picture(option)
