"""Choose a clip: a rendered street, a video or a folder of frames; one for all pages."""

import streamlit as st

from nonlocal_lens.analysis.file_kinds import UPLOADED_PICTURES, UPLOADED_VIDEOS
from nonlocal_lens.app.components import places
from nonlocal_lens.app.drawn_streets import FIRST_STREET
from nonlocal_lens.app.markdown import literal
from nonlocal_lens.app.pictures import SEED_HELP, STREETS
from nonlocal_lens.app.session import choose, chosen, kept
from nonlocal_lens.app.uploads import kept_file, kept_token
from nonlocal_lens.app.video_clips import (
    Reel,
    kept_reel,
    rendered_reel,
    uploaded_frames,
    uploaded_reel,
)

RENDERED, UPLOAD, FOLDER = "Rendered street clip", "Your own video…", "A folder of frames…"
UPLOAD_TYPES = [*UPLOADED_VIDEOS, "gif"]
UPLOAD_MEGABYTES = 100

CLIP, STREET = "video_clip", "video_street"  # names of the choices
OPENED, OPENED_FRAMES = "opened video", "opened frames"  # where the session keeps the last ones


def choose_reel() -> Reel | None:
    """Let the user choose a rendered clip or bring one; None until there is one."""
    kind = st.selectbox(
        "Clip",
        [RENDERED, UPLOAD, FOLDER],
        label_visibility="collapsed",
        width=210,
        **kept(CLIP, RENDERED),
    )
    with places.beside_the_choice():
        return _brought(kind)


def _brought(kind: str) -> Reel | None:
    if kind == RENDERED:
        seed = st.number_input(
            "Clip number",
            0,
            STREETS - 1,
            help=SEED_HELP,
            label_visibility="collapsed",
            width=150,
            **kept(STREET, FIRST_STREET),
        )
        return rendered_reel(seed)
    if kind == UPLOAD:
        file = st.file_uploader(
            "Video",
            UPLOAD_TYPES,
            max_upload_size=UPLOAD_MEGABYTES,
            key="video_file",
            label_visibility="collapsed",
            width=300,
        )
        if file is not None:
            st.session_state[OPENED] = uploaded_reel(file)
        return _still_open(OPENED, file is None)
    files = st.file_uploader(
        "Frames",
        UPLOADED_PICTURES,
        accept_multiple_files=True,
        key="video_frames_files",
        label_visibility="collapsed",
        width=300,
    )
    if files:
        st.session_state[OPENED_FRAMES] = uploaded_frames(files)
    return _still_open(OPENED_FRAMES, not files)


def _still_open(name: str, without_file: bool) -> Reel | None:
    reel: Reel | None = st.session_state.get(name)
    if reel is not None and without_file:
        st.caption(f"Still open: {literal(reel.name)}")
    return reel


def token_of_reel(reel: Reel) -> str | None:
    """Return what a clip is called in an address; None if it can have no place in one."""
    kind, _, seed = reel.location.partition(":")
    return f"street-{seed}" if kind == "rendered" else kept_token(reel.location)


def reel_of(token: str) -> Reel | None:
    """Return the clip of a token; None if it is that of an upload which is gone."""
    kind, _, name = token.partition("-")
    if kind == "street":
        return rendered_reel(int(name))
    path = kept_file(token)
    return None if path is None else kept_reel(path)


def open_known_reel(token: str) -> None:
    """Make the clip that a link names the one that pages show, or ask for the file.

    To be called before its widgets are drawn.
    """
    reel = reel_of(token)
    if reel is None:
        choose(CLIP, UPLOAD)
        st.session_state.pop(OPENED, None)
        st.info("This link shows a clip that was uploaded: choose the same file again.")
    elif token.startswith("street-"):
        choose(CLIP, RENDERED)
        choose(STREET, int(token.removeprefix("street-")))
    else:
        folder = kept_file(token)
        frames = folder is not None and folder.is_dir()
        choose(CLIP, FOLDER if frames else UPLOAD)
        st.session_state[OPENED_FRAMES if frames else OPENED] = reel


def current_reel() -> Reel | None:
    """Return the clip that is chosen, on pages where there is no choice."""
    kind = chosen(CLIP, RENDERED)
    if kind == RENDERED:
        return rendered_reel(chosen(STREET, FIRST_STREET))
    reel: Reel | None = st.session_state.get(OPENED if kind == UPLOAD else OPENED_FRAMES)
    return reel
