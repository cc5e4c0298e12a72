"""Explore: one picture, one network; point at a pixel and see where the block looks from there."""

from html import escape

import streamlit as st

from nonlocal_lens.analysis import degeneracy
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.statistics.sinks import SINK
from nonlocal_lens.app import cache
from nonlocal_lens.app.address import keep_address, token_of
from nonlocal_lens.app.components import places
from nonlocal_lens.app.components.attribution import show_attribution
from nonlocal_lens.app.components.bits_bar import bits_bars, bits_of
from nonlocal_lens.app.components.intervention import show_intervention
from nonlocal_lens.app.components.network_picker import choose_record
from nonlocal_lens.app.components.queries import (
    middle_of,
    pinned_cell,
    pinned_place,
    place_of,
    tokens_in_words,
)
from nonlocal_lens.app.components.query_dependence import show_query_dependence
from nonlocal_lens.app.components.sentence import NUMBERS, sentence
from nonlocal_lens.app.components.skeleton import skeleton
from nonlocal_lens.app.components.statistics_panel import show_statistics, sink_in_words
from nonlocal_lens.app.components.strongest_keys import strongest_keys
from nonlocal_lens.app.components.subject import choose_subject
from nonlocal_lens.app.components.tour import tour
from nonlocal_lens.app.link import Link
from nonlocal_lens.app.markdown import literal
from nonlocal_lens.app.networks import short_name
from nonlocal_lens.app.pictures import Picture
from nonlocal_lens.app.session import kept, kept_open
from nonlocal_lens.app.shown import (
    ShownPicture,
    first_view,
    part_of,
    remember,
)
from nonlocal_lens.app.viewer.show import show_viewer
from nonlocal_lens.app.viewer.view import View
from nonlocal_lens.app.views import keep_view, opened_view


def explore() -> None:
    """Draw the page from top to bottom."""
    tour()
    subject = choose_subject("explore")
    if subject is not None:
        show_lens(*subject)


@st.fragment  # a pin reruns this part alone
def show_lens(picture: Picture, network_name: str) -> None:
    """Show the viewer, above it what it says in one line, and below it all numbers.

    Every part has a place that is kept from the start, so that what was there stays, dimmed, until
    the new one comes, and nothing moves.
    """
    head, lens, below = places.headline(1), st.container(), st.container()
    with head:
        parts, line = places.parts("explore"), st.container()
    with lens:
        waiting = skeleton("explore")
        with cache.one_wait():
            seen = cache.observation(network_name, picture)
            if not seen.records:
                waiting.empty()
                st.info(f"`{short_name(network_name)}` has no attention block to show.")
                return
            with parts:
                index = choose_record(seen.records)
            record = seen.records[index]
            key, opened = opened_view(picture.id, "explore", first_view(picture))
            view = show_viewer(cache.payload(network_name, picture, index), key=key, view=opened)
        waiting.empty()
        keep_view(view, picture.id, "explore")
    pinned = view.chosen
    query = None if pinned is None else pinned.index(record.query_axis)
    with below:
        report = cache.report(network_name, picture, index)
        with line:
            show_headline(network_name, picture, index, view, query)
        note = out_of_domain(network_name, picture)
        if note:
            st.caption(note)
        with st.expander("Statistics", icon=":material/tune:", **kept_open("explore-numbers")):
            show_numbers(network_name, record, report)
    part = part_of(record)
    keep_address(Link(picture.id, (network_name,), (part.name,), view))
    if token_of(network_name) is None:
        st.caption(
            f"The address names the picture and the pins, but not `{short_name(network_name)}`: "
            "a link opens with a bundled network."
        )
    remember(ShownPicture(network_name, picture, part, view.queries))
    called = "" if pinned is None or query is None else pinned_place(pinned)
    if pinned is not None and query is not None and not pinned.alone:
        called = place_of(record, query)  # what the tabs say is of one query
    show_tabs(network_name, picture, index, query, called)


def show_headline(
    network_name: str, picture: Picture, index: int, view: View, query: int | None
) -> None:
    """Show in one plain sentence, and one bar, how much the query matters; in one more, a sink."""
    record = cache.observation(network_name, picture).records[index]
    report = cache.report(network_name, picture, index)
    bits = bits_of(report)
    chosen = view.chosen
    category = None if chosen is None else chosen.category
    looks = None if query is None else cache.looks(network_name, picture, index, query, category)
    number = view.queries.index(chosen) if chosen and len(view.queries) > 1 else None
    place = "" if chosen is None or query is None else pinned_place(chosen)
    unary_only = record.coupling == "unary"
    pinned = ""
    if chosen is not None and query is not None:
        called = "Pinned query" if number is None else f"Pinned query {NUMBERS[number]}"
        pinned = f"{called} {escape(place)} ({pinned_cell(chosen, record, query)})"
    sink = report.sink_sentence
    sunk = f'<p class="nl-place">{escape(sink)}</p>' if sink else ""
    st.html(
        '<div class="nl-headline"><div>'
        f"{sentence(looks, number, place, bits, unary_only)}"
        f'<p class="nl-place">{pinned}</p>'
        f"{sunk}</div><div>{bits_bars({short_name(network_name): bits})}</div></div>"
    )


def show_numbers(
    network_name: str, record: AttentionRecord, report: degeneracy.DegeneracyReport
) -> None:
    """Show what the statistics of the block say, of a sink, too, and all of them."""
    st.markdown(f"**How degenerate is it?** {literal(report.how_degenerate)}")
    if sink := sink_in_words(report):
        st.markdown(f"**Is there a sink?** {literal(sink)}")
    show_statistics(report)
    st.caption(
        f"Block `{record.block}` of `{short_name(network_name)}`: "
        f"{tokens_in_words(record.query_axis)} queries, {tokens_in_words(record.key_axis)} keys. "
        "Tap or point at a name to see what it means."
    )


def out_of_domain(network_name: str, picture: Picture) -> str:
    """Return what to keep in mind where a network for streets looks at something else."""
    streets = picture.location.startswith("rendered:")
    if streets or not network_name.startswith("streets-"):
        return ""
    return (
        "This network was trained on streets: in other pictures its attention is real, but the "
        "classes it names are those of streets."
    )


def show_pinned(
    record: AttentionRecord, report: degeneracy.DegeneracyReport, query: int, place: str
) -> None:
    """Show where a pinned query looks most, in numbers computed by torch in single precision."""
    sink = report.sink if report.sink_share >= SINK else None
    st.markdown(f"**Strongest keys** of {literal(place)}")
    st.dataframe(strongest_keys(record, query, sink), hide_index=True)
    unit = "as logits" if record.signed else "in multiples of uniform"
    st.caption(f"Its strongest keys, {unit}, by torch in single precision.")


def show_tabs(
    network_name: str, picture: Picture, index: int, pinned: int | None, place: str
) -> None:
    """Show what else there is to know; a tab that is not open computes nothing."""
    record = cache.observation(network_name, picture).records[index]
    query = pinned if pinned is not None and pinned < record.query_axis.placed else None
    strongest, dependence, attribution, intervention = st.tabs(
        ["Strongest keys", "Query dependence", "Attribution", "Intervention"],
        **kept("explore-tab", "Strongest keys"),
    )
    if strongest.open:
        with strongest:
            if pinned is None:
                st.caption("No query is pinned: this is of the one in the middle.")
            middle = middle_of(record)
            shown, called = (
                (middle, place_of(record, middle)) if pinned is None else (pinned, place)
            )
            show_pinned(record, cache.report(network_name, picture, index), shown, called)
    if dependence.open:
        with dependence:
            show_query_dependence(network_name, picture, index)
    if attribution.open:
        with attribution:
            if query is None:
                why = "No query is pinned" if pinned is None else "What is pinned is no place"
                st.caption(f"{why}: this is of the one in the middle.")
            show_attribution(
                network_name, picture, record, middle_of(record) if query is None else query
            )
    if intervention.open:
        with intervention:
            show_intervention(network_name, picture, record)


explore()
