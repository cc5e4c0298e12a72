"""Places of a page that are kept before there is what fills them: nothing moves when it comes."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator


def bar() -> DeltaGenerator:
    """Return the place of the thin line in which picture and network are chosen."""
    return st.container(horizontal=True, vertical_alignment="center", gap="small", key="bar")


def beside_the_choice() -> DeltaGenerator:
    """Return the place in the bar of what else there is to choose of a picture or clip, if any.

    What follows in the bar keeps its own place, whatever comes and goes here: otherwise what stood
    there before would stay on the page beside it until the page has run.
    """
    return st.container(
        horizontal=True, vertical_alignment="center", gap="small", width="content", key="bar-beside"
    )


def headline(networks: int) -> DeltaGenerator:
    """Return the place of what is said of so many networks in one line each; see main.css."""
    return st.container(key=f"headline-{networks}")


def parts(page: str) -> DeltaGenerator:
    """Return the place where one of several blocks, runs and heads is chosen; it may stay empty."""
    return st.container(horizontal=True, gap="small", key=f"{page}-parts")


def viewer_key(number: int) -> str:
    """Return what the viewer of a session is called after so many others."""
    return f"viewer-{number}"
