"""Choose a picture: a sample, a rendered street, or one of the user's own; one for all pages."""

import streamlit as st

from nonlocal_lens.analysis.file_kinds import UPLOADED_PICTURES
from nonlocal_lens.app import cache
from nonlocal_lens.app.drawn_streets import FIRST_STREET
from nonlocal_lens.app.markdown import literal
from nonlocal_lens.app.pictures import (
    SAMPLES,
    SEED_HELP,
    STREETS,
    Picture,
    known_picture,
    rendered_picture,
    sample_picture,
)
from nonlocal_lens.app.session import choose, chosen, kept
from nonlocal_lens.models.limits import error_words

RENDERED = "Rendered street"
UPLOAD = "Your own picture…"
UPLOAD_TYPES = UPLOADED_PICTURES
UPLOAD_MEGABYTES = 20
OPENED = "opened picture"  # where the session keeps the last picture that the user brought

PICTURE, STREET = "explore-picture", "explore-street"  # names of the choices
OPTIONS = [RENDERED, *SAMPLES, UPLOAD]


def choose_picture() -> Picture | None:
    """Let the user choose a sample or a street, or bring a picture; None until there is one."""
    name = st.selectbox(
        "Picture", OPTIONS, format_func=option_label, **kept(PICTURE, RENDERED, among=OPTIONS)
    )
    return bring_picture(name)


def option_label(option: str) -> str:
    """Return what an option is called in a list."""
    return SAMPLES[option].title if option in SAMPLES else option


def bring_picture(option: str) -> Picture | None:
    """Return the picture of an option, with what else there is to choose of it."""
    if option == RENDERED:
        seed = st.number_input(
            "Street number",
            0,
            STREETS - 1,
            help=SEED_HELP,
            label_visibility="collapsed",
            width=150,
            **kept(STREET, FIRST_STREET),
        )
        return rendered_picture(seed)
    if option == UPLOAD:
        return _bring_upload()
    return sample_picture(option)


def current_picture() -> Picture | None:
    """Return the picture that is chosen, on pages where there is no choice; None if it is gone."""
    option = chosen(PICTURE, RENDERED)
    if option == UPLOAD:
        opened: Picture | None = st.session_state.get(OPENED)
        return opened
    if option in SAMPLES:
        return sample_picture(option)
    return rendered_picture(chosen(STREET, FIRST_STREET))


def open_picture(picture: Picture) -> None:
    """Make a picture the one that pages show; to be called before its widgets are drawn."""
    kind, _, name = picture.location.partition(":")
    if kind == "samples":
        choose(PICTURE, name)
    elif kind == "rendered":
        choose(PICTURE, RENDERED)
        choose(STREET, int(name))
    else:
        choose(PICTURE, UPLOAD)
        st.session_state[OPENED] = picture


def open_known(picture: str | None) -> None:
    """Make the picture that a link names the one that pages show, or ask for the file.

    To be called before its widgets are drawn.

    Args:
        picture: As `Picture.id`; None where the link names none.
    """
    if picture is None:
        return
    try:
        found = known_picture(picture)
    except Exception:  # a file that was kept, and is no picture
        found = None
    if found is not None:
        open_picture(found)
    else:
        choose(PICTURE, UPLOAD)
        st.session_state.pop(OPENED, None)
        st.info("This link shows a picture that was uploaded: choose the same file again.")


def _bring_upload() -> Picture | None:
    """Let the user bring a picture; the last one stays open while other pages are visited."""
    file = st.file_uploader(
        "File",
        UPLOAD_TYPES,
        max_upload_size=UPLOAD_MEGABYTES,
        key="picture-file",
        label_visibility="collapsed",
        width=260,
    )
    if file is not None:
        try:
            st.session_state[OPENED] = cache.upload(file.getvalue(), file.name)
        except Exception as error:  # whatever a decoder raises is this file's
            st.error(f"This picture cannot be used: {literal(error_words(error))}.")
            st.stop()
    opened: Picture | None = st.session_state.get(OPENED)
    if opened is not None and file is None:
        st.caption(f"Still open: {literal(opened.name)}")
    if opened is not None and opened.note:
        st.caption(literal(f"{opened.note}."))
    return opened
