"""Choose a picture: a sample, a rendered street, or one of the user's own."""

import streamlit as st

from app import cache
from app.markdown import literal
from app.pictures import SAMPLES, STREETS, Picture, rendered_picture, sample_picture

RENDERED = "Rendered street"
UPLOAD = "Your own picture…"
UPLOAD_TYPES = ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff"]
UPLOAD_MEGABYTES = 20
OPENED = "opened picture"  # where the session keeps the last picture that the user brought

PICTURE, STREET = "explore-picture", "explore-street"


def choose_picture() -> Picture | None:
    """Let the user choose a sample or a street, or bring a picture; None until there is one."""
    labels = {name: sample.title for name, sample in SAMPLES.items()}
    options = [*labels, RENDERED, UPLOAD]
    name = st.selectbox(
        "Picture", options, format_func=lambda key: labels.get(key, key), key=PICTURE
    )
    if name == RENDERED:
        number = st.number_input(
            "Street number", 0, STREETS - 1, key=STREET, help="Each number is another street."
        )
        return rendered_picture(number)
    if name == UPLOAD:
        return _bring_picture()
    return sample_picture(name)


def open_in_explore(picture: Picture) -> None:
    """Make a picture the one that Explore shows; to be called before its widgets are drawn."""
    kind, _, name = picture.location.partition(":")
    if kind == "samples":
        st.session_state[PICTURE] = name
    elif kind == "rendered":
        st.session_state[PICTURE] = RENDERED
        st.session_state[STREET] = int(picture.id.removeprefix("street-"))
    else:
        st.session_state[PICTURE] = UPLOAD
        st.session_state[OPENED] = picture


def ask_for_upload() -> None:
    """Choose that the user brings a picture; to be called before the widgets are drawn."""
    st.session_state[PICTURE] = UPLOAD
    st.info("This link shows a picture that was uploaded: choose the same file again.")


def _bring_picture() -> Picture | None:
    """Let the user bring a picture; the last one stays open while other pages are visited."""
    file = st.file_uploader(
        "File", UPLOAD_TYPES, max_upload_size=UPLOAD_MEGABYTES, key="picture-file"
    )
    if file is not None:
        try:
            st.session_state[OPENED] = cache.upload(file.getvalue(), file.name)
        except ValueError as error:
            st.error(f"This picture cannot be used: {literal(str(error))}.")
            st.stop()
    opened = st.session_state.get(OPENED)
    if opened is not None and file is None:
        st.caption(f"Still open: {literal(opened.name)}")
    return opened
