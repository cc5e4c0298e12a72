"""Choose whether a page's numbers are of its picture, or means over several pictures."""

import streamlit as st

from nonlocal_lens.analysis.head_means import counted
from nonlocal_lens.app.address_fields import number, one_of
from nonlocal_lens.app.atlas.walls import Several
from nonlocal_lens.app.components.survey_pictures import (
    MOST_STREETS,
    OWN,
    RENDERED,
    SAMPLE_SET,
    brought_pictures,
    choose_streets,
    items_of,
)
from nonlocal_lens.app.pictures import STREETS
from nonlocal_lens.app.session import kept

THIS = "This picture"
LABELS = {
    THIS: "Numbers of this picture",
    RENDERED: "Means over rendered streets",
    SAMPLE_SET: "Means over the samples",
    OWN: "Means over your own pictures",
}
CHOICE = "atlas-numbers-of"
FIELDS = (
    one_of("over", CHOICE, list(LABELS)),
    number("first", "survey-first", 0, STREETS - 1),
    number("count", "survey-count", 1, MOST_STREETS),
)
"""What an address says of it. Which streets they are is one choice for all pages."""


def choose_several() -> Several | None:
    """Let the user choose; None where numbers are of the page's picture alone, or none is here."""
    with st.container(
        horizontal=True, vertical_alignment="bottom", gap="small", key="atlas-numbers"
    ):
        kind = st.selectbox(
            "Numbers",
            list(LABELS),
            format_func=LABELS.__getitem__,
            label_visibility="collapsed",
            width=270,
            **kept(CHOICE, THIS, among=list(LABELS)),
        )
        numbers = choose_streets() if kind == RENDERED else None
    if kind == THIS:
        return None
    if kind == OWN:
        brought, items = brought_pictures(st.container())
        if not items:
            st.info("Choose the pictures that numbers are to be means over.")
            return None
        return Several(f"{counted(len(items))} of yours", brought, tuple(items))
    items, _ = items_of(kind, numbers)
    ids = tuple(item.name for item in items)
    if numbers is None:
        return Several(f"the {len(items)} samples", ids, tuple(items))
    named = f"rendered street {numbers[0]}"
    if len(numbers) > 1:
        named = f"rendered streets {numbers[0]} to {numbers[-1]}"
    return Several(named, ids, tuple(items))
