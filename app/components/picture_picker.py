"""Choose a picture: a sample, a rendered street, or one of the user's own; one for all pages."""

import streamlit as st

from nonlocal_lens.analysis.file_kinds import UPLOADED_PICTURES
from nonlocal_lens.app import cache
from nonlocal_lens.app.components import places
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
REFUSED = "refused picture"  # where it keeps why one could not be used, and what is shown instead
FILE = "picture-file"

PICTURE, STREET = "explore-picture", "explore-street"  # names of the choices
OPTIONS = [RENDERED, *SAMPLES, UPLOAD]


def option_label(option: str) -> str:
    """Return what an option is called in a list."""
    return SAMPLES[option].title if option in SAMPLES else option


def bring_picture(option: str) -> Picture | None:
    """Return the picture of an option, with what else there is to choose of it in its place."""
    with places.beside_the_choice():
        return _brought(option)


def _brought(option: str) -> Picture | None:
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


def take_picture(data: bytes, name: str) -> None:
    """Open a picture that the user brings; if it cannot be used, `show_refusal` says why.

    To be called before the widgets of a page are drawn.
    """
    try:
        open_picture(cache.upload(data, name))
    except Exception as error:  # whatever a decoder raises is this file's
        st.session_state[REFUSED] = error_words(error), _id_of(current_picture())


def show_refusal() -> None:
    """Say why a picture could not be used, until another one is chosen."""
    sentence, still_shown = st.session_state.get(REFUSED, (None, None))
    if sentence is None:
        return
    if _id_of(current_picture()) == still_shown:
        st.error(f"This picture cannot be used: {literal(sentence)}.")
    else:
        del st.session_state[REFUSED]


def _bring_upload() -> Picture | None:
    """Show which picture of the user's is open, on every page; let them bring the first.

    The next one is taken by the shelf: a second place for files would only hide the maps, and
    Streamlit empties one that holds a file first, for which the page runs once more.
    """
    opened: Picture | None = st.session_state.get(OPENED)
    if opened is None:
        st.file_uploader(
            "File",
            UPLOAD_TYPES,
            max_upload_size=UPLOAD_MEGABYTES,
            key=FILE,
            on_change=_take_upload,
            label_visibility="collapsed",
            width=260,
        )
        return None
    st.caption(f"Open: {literal(opened.name)}")
    if opened.note:
        st.caption(literal(f"{opened.note}."))
    return opened


def _take_upload() -> None:
    file = st.session_state[FILE]
    if file is not None:
        take_picture(file.getvalue(), file.name)


def _id_of(picture: Picture | None) -> str | None:
    return None if picture is None else picture.id
