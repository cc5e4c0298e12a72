"""Export: what is pinned elsewhere as a figure for a paper, and the command that draws it."""

import json
from functools import partial
from typing import BinaryIO

import streamlit as st

from app import cache
from app.components.export_form import choose_clip_options, choose_options
from app.explored import EXPLORED, LATEST, WATCHED, Explored, Watched
from app.export.bundle import bundle_name
from app.export.options import DRAWN, MOVIES, Options
from app.markdown import literal
from app.networks import short_name
from app.pictures import sample_picture
from app.session import usually
from app.uploads import in_users_words
from app.video_clips import FRAMES

USUAL = ("streets-dnl", "motorcycle")  # network and sample, before anything was explored


def export_page() -> None:
    """Draw the page from top to bottom."""
    st.subheader("Export", anchor=False)
    explored, watched = st.session_state.get(EXPLORED) or first_explored(), None
    if WATCHED in st.session_state and choose_subject(explored) == WATCHED:
        watched = st.session_state[WATCHED]
    st.caption(said_of(explored) if watched is None else said_of_clip(watched))
    form, figure = st.columns([2, 3], gap="large")
    with form:
        if watched is None:
            given = choose_options(explored, block_of(explored))
        else:
            given = choose_clip_options(watched)
    with figure:
        try:
            options = Options.build(given)
            show_preview(options)
            show_download(options)
        except (ValueError, OSError) as error:
            st.error(f"This cannot be drawn: {literal(in_users_words(str(error)))}.")


def choose_subject(explored: Explored) -> str:
    """Let the user choose between the picture and the clip that were shown last."""
    names = {
        EXPLORED: f"Picture: {explored.picture.name}",
        WATCHED: f"Clip: {st.session_state[WATCHED].reel.name}",
    }
    chosen = st.segmented_control(
        "What is drawn",
        list(names),
        format_func=names.__getitem__,
        required=True,
        key=usually(LATEST, WATCHED),
        label_visibility="collapsed",
    )
    return chosen or EXPLORED


def said_of(explored: Explored) -> str:
    """Return what is drawn of a picture, and where it is chosen."""
    pinned = f"{len(explored.points)} pinned" if explored.points else "nothing pinned"
    return (
        f"{explored.picture.name} through {', '.join(map(short_name, explored.networks))}, "
        f"{pinned}: choose other pictures, networks or queries in Explore or Compare."
    )


def said_of_clip(watched: Watched) -> str:
    """Return what is drawn of a clip, and where it is chosen."""
    pinned = "nothing pinned"
    for frame, x, y in watched.queries:
        pinned = f"x {x:.0f}, y {y:.0f} of frame {frame} pinned"
    frames = "1 frame" if watched.frames == 1 else f"{watched.frames} frames"
    return (
        f"{frames} of {watched.reel.name} through {short_name(watched.network)}, {pinned}: "
        "choose other clips, frames, networks or queries in Video."
    )


def first_explored() -> Explored:
    """Return what Explore opens with."""
    network, sample = USUAL
    return Explored(network, sample_picture(sample), "", None, ())


def block_of(explored: Explored) -> str | None:
    """Return the block, if it is not the one that an export would take anyway."""
    records = cache.observation(explored.network, explored.picture).records
    return None if explored.block in ("", records[0].block) else explored.block


def show_preview(options: Options) -> None:
    """Show the first figures; raise ValueError or OSError if they cannot be drawn."""
    if set(options.formats) & {*DRAWN, *MOVIES}:
        for name, png in cache.preview(json.dumps(options.to_json())):
            st.image(png, caption=name, alt=f"The figure {name}", width="stretch")
    else:
        st.info("These formats hold numbers or a page of their own: there is no figure to show.")


def show_download(options: Options) -> None:
    """Offer the files, drawn when they are asked for, and the command that draws them."""
    name = bundle_name(options)
    st.download_button(
        f"Download {name}",
        partial(draw, options),
        name,
        type="primary",
        icon=":material/download:",
        on_click="ignore",
    )
    st.markdown("**The same in the shell**")
    st.code(options.in_users_terms().command(), language="bash", wrap_lines=True)
    if said := said_of_files(options):
        st.caption(said)


def draw(options: Options) -> BinaryIO:
    """Return the files of an export as one."""
    return cache.bundle(json.dumps(options.to_json()))


def said_of_files(options: Options) -> str:
    """Return where the command is to be run, if it names files that were uploaded here."""
    called = options.in_users_terms()
    names = [
        name
        for name, path in zip(
            (*called.inputs, *called.networks), (*options.inputs, *options.networks), strict=True
        )
        if name != path
    ]
    if not names:
        return ""
    said = f"Run it in the folder that holds {' and '.join(f'`{name}`' for name in names)}."
    if FRAMES in names:
        said += f" `{FRAMES}` stands for the folder of your frames."
    return said


export_page()
