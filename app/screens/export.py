"""Export: what is pinned elsewhere as a figure for a paper, and the command that draws it."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import streamlit as st

from app import cache
from app.components.export_form import choose_options
from app.explored import EXPLORED, Explored
from app.export.bundle import bundle_name
from app.export.options import DRAWN, Options
from app.networks import short_name
from app.pictures import sample_picture

USUAL = ("streets-dnl", "motorcycle")  # network and sample, before anything was explored


def export_page() -> None:
    """Draw the page from top to bottom."""
    st.subheader("Export", anchor=False)
    explored = st.session_state.get(EXPLORED) or first_explored()
    st.caption(
        f"{explored.picture.name} through {', '.join(map(short_name, explored.networks))}, "
        + (f"{len(explored.points)} pinned" if explored.points else "nothing pinned")
        + ": choose other pictures, networks or queries in Explore or Compare."
    )
    form, figure = st.columns([2, 3], gap="large")
    with form:
        given = choose_options(explored, block_of(explored))
    with figure:
        try:
            options = Options.build(given)
            show_preview(options)
            show_download(options)
        except (ValueError, OSError) as error:
            st.error(f"This cannot be drawn: {in_users_words(str(error), given)}.")


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
    if set(options.formats) & set(DRAWN):
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
    st.code(in_users_terms(options).command(), language="bash", wrap_lines=True)


def draw(options: Options) -> BinaryIO:
    """Return the files of an export as one."""
    return cache.bundle(json.dumps(options.to_json()))


def in_users_terms(options: Options) -> Options:
    """Return options that name files as the user does, not where this app keeps them."""
    paths = [Path(name) for name in options.networks]
    networks = [path.name if path.is_absolute() else str(path) for path in paths]
    inputs = [
        name if name.startswith(("samples:", "rendered:")) else Path(name).name
        for name in options.inputs
    ]
    return replace(options, inputs=tuple(inputs), networks=tuple(networks))


def in_users_words(sentence: str, given: dict) -> str:
    """Return a sentence that names files as the user does."""
    for name in (*given["inputs"], *given["networks"]):
        sentence = sentence.replace(name, Path(name).name) if Path(name).is_absolute() else sentence
    return sentence


export_page()
