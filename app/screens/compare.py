"""Compare: several networks, blocks or heads on one picture, under one cursor, on one scale."""

from html import escape
from pathlib import Path

import streamlit as st

from nonlocal_lens.analysis.degeneracy import HEADLINES, DegeneracyReport
from nonlocal_lens.app import cache
from nonlocal_lens.app.address import keep_address, opened_link
from nonlocal_lens.app.components import places
from nonlocal_lens.app.components.bar import show_shelf
from nonlocal_lens.app.components.bits_bar import bits_bars, bits_of
from nonlocal_lens.app.components.network_picker import (
    current_network,
    is_named,
    offered_networks,
    open_network,
)
from nonlocal_lens.app.components.picture_picker import (
    OPTIONS,
    PICTURE,
    RENDERED,
    UPLOAD_MEGABYTES,
    bring_picture,
    current_picture,
    open_known,
    option_label,
)
from nonlocal_lens.app.components.queries import pinned_place
from nonlocal_lens.app.components.range_bar import range_bar
from nonlocal_lens.app.components.sentence import sentence
from nonlocal_lens.app.components.skeleton import skeleton
from nonlocal_lens.app.link import MOST_NETWORKS, Link
from nonlocal_lens.app.markdown import literal
from nonlocal_lens.app.networks import is_here, short_name, title_of
from nonlocal_lens.app.pictures import Picture
from nonlocal_lens.app.session import choose, chosen, kept
from nonlocal_lens.app.shown import Part, ShownPicture, first_view, remember
from nonlocal_lens.app.uploads import keep, user_message
from nonlocal_lens.app.viewer.show import show_viewer
from nonlocal_lens.app.viewer.view import View
from nonlocal_lens.app.views import keep_view, opened_view, take_view
from nonlocal_lens.models.limits import error_words

RECORDS = "Your own tensors…"
RECORD_TYPES = ["safetensors", "npz"]
OWN_RECORDS, OPENED_RECORDS = "compare-own-records", "opened records"
NETWORKS, PART = "compare-networks", "compare-records"

# What Yin et al. 2020 set side by side, with their difference.
PAPER = ("streets-nl", "streets-dnl")


def compare() -> None:
    """Draw the page from top to bottom."""
    link = opened_link("compare")
    if link is not None:
        open_what_it_names(link)
    bar = places.bar()
    with bar:
        show_shelf()
        picture, records = choose_picture()
    networks = openable(choose_networks()) if records is None else ()
    if records is not None:
        show_viewer(records, key="viewer-records")
    elif picture is not None and networks:
        show_comparison(picture, networks)
    elif picture is not None:
        st.info("Choose at least one network.")


def open_what_it_names(link: Link) -> None:
    """Choose the picture, the networks and the pins that a link names; the rest stays."""
    open_known(link.picture)
    if link.picture is not None:
        choose(OWN_RECORDS, False)
    if link.networks:
        if current_network() not in link.networks:
            open_network(link.networks[0], Part())
        choose(NETWORKS, list(link.networks))
        if len(link.networks) == 1 and link.blocks:
            choose(PART, list(link.blocks))
    take_view(link, current_picture(), maps_of(networks_to_compare()))


def maps_of(networks: tuple[str, ...]) -> tuple[str, ...]:
    """Return the name of what stands side by side."""
    return ("compare", *networks)


def choose_picture() -> tuple[Picture | None, bytes | None]:
    """Let the user choose a picture, or a file of records; what is not chosen is None."""
    options = [*OPTIONS, RECORDS]
    st.session_state["compare_picture"] = (
        RECORDS if chosen(OWN_RECORDS) else chosen(PICTURE, RENDERED)
    )
    option = st.selectbox(
        "Picture",
        options,
        format_func=option_label,
        label_visibility="collapsed",
        width=190,
        key="compare_picture",
        on_change=_take_picture,
    )
    if option != RECORDS:
        return bring_picture(option), None
    file = st.file_uploader(
        "File", RECORD_TYPES, max_upload_size=UPLOAD_MEGABYTES * 5, key=f"compare_{RECORDS}"
    )
    if file is not None:
        st.session_state[OPENED_RECORDS] = str(keep(file.getvalue(), file.name)), file.name
    path, name = st.session_state.get(OPENED_RECORDS, (None, ""))
    if path is None:
        return None, None
    if file is None:
        st.caption(f"Still open: {literal(name)}")
    try:
        return None, cache.record_file(Path(path).read_bytes(), name)
    except Exception as error:  # whatever a reader raises is this file's
        st.error(f"This file cannot be used: {literal(error_words(error))}.")
        st.stop()


def _take_picture() -> None:
    option = st.session_state["compare_picture"]
    choose(OWN_RECORDS, option == RECORDS)
    if option != RECORDS:
        choose(PICTURE, option)


def networks_to_compare() -> tuple[str, ...]:
    """Return the networks that are compared: those chosen here, with the one that others show.

    A network that was chosen in Explore takes part, in front, unless it was taken out here.
    """
    compared = list(chosen(NETWORKS, PAPER))
    current = current_network()
    if current not in compared and chosen("compare-beside") != current:
        compared = [current, *compared][:MOST_NETWORKS]
        choose(NETWORKS, compared)
    choose("compare-beside", current)
    return tuple(compared)


def openable(networks: tuple[str, ...]) -> tuple[str, ...]:
    """Return the networks that open without a download, and say why others do not."""
    found = []
    for name in networks:
        if not is_here(name) and is_named(name):
            st.info(
                f"`{short_name(name)}` is not here: choose it in Explore, which says what it takes."
            )
            continue
        try:
            cache.network(name)
        except (ValueError, OSError, ImportError) as error:
            st.error(f"`{short_name(name)}` cannot be used: {literal(user_message(str(error)))}.")
        else:
            found.append(name)
    return tuple(found)


def choose_networks() -> tuple[str, ...]:
    """Let the user choose up to four networks."""
    compared = networks_to_compare()
    names = list(dict.fromkeys([*offered_networks(), *compared]))
    networks = st.multiselect(
        "Networks",
        names,
        format_func=title_of,
        label_visibility="collapsed",
        placeholder="Networks to compare",
        max_selections=MOST_NETWORKS,
        **kept(NETWORKS, list(PAPER), key="compare_networks"),
    )
    return tuple(networks)


@st.fragment  # a pin reruns this part alone
def show_comparison(picture: Picture, networks: tuple[str, ...]) -> None:
    """Show the viewer, keep the address up with what it shows, and the numbers side by side.

    Every part has a place that is kept from the start, so that what was there stays, dimmed, until
    the new one comes, and nothing moves.
    """
    head, lens, below = (
        places.headline(len(networks)),
        st.container(),
        st.container(),
    )
    with head:
        parts, line = st.container(), st.container()
    maps = maps_of(networks)
    with lens:
        waiting = skeleton("compare")
        with cache.one_wait():
            for name in networks:  # which takes long, and is said where the maps will be
                cache.observation(name, picture)
            with parts:
                records = chosen_records(picture, networks)
            if not records:
                waiting.empty()
                return
            first = first_view(picture)
            if len(records) == 2:
                first = View(queries=first.queries, active=first.active, difference=(0, 1))
            key, opened = opened_view(picture.id, maps, first)
            view = show_viewer(cache.comparison(records, picture), key=key, view=opened)
        waiting.empty()
        keep_view(view, picture.id, maps)
    blocks = tuple(
        dict.fromkeys(cache.record_name(name, number, picture) for name, number in records)
    )
    remember(ShownPicture(networks[0], picture, Part(), view.queries, networks[1:]))
    keep_address(Link(picture.id, networks, blocks, view))
    with below:
        reports = {
            title_of_record(name, number, picture, networks): cache.report(name, picture, number)
            for name, number in records
        }
        line.html(bits_bars({title: bits_of(report) for title, report in reports.items()}))
        show_numbers(records, picture, view, reports)


def title_of_record(name: str, number: int, picture: Picture, networks: tuple[str, ...]) -> str:
    """Return what a record is called beside its numbers."""
    return short_name(name) if len(networks) > 1 else cache.record_name(name, number, picture)


def show_numbers(
    records: tuple[tuple[str, int], ...],
    picture: Picture,
    view: View,
    reports: dict[str, DegeneracyReport],
) -> None:
    """Show a column of numbers for every network: what the pinned query favors, and statistics."""
    pinned = view.chosen
    leading = records[view.shown[0] if view.shown else 0][0]  # whose classes the viewer shows
    for column, (title, report), (name, number) in zip(
        st.columns(len(reports), gap="medium"), reports.items(), records, strict=True
    ):
        with column:
            record = cache.observation(name, picture).records[number]
            query = None if pinned is None else pinned.index(record.query_axis)
            category = None if pinned is None else pinned.category
            looks = (
                None
                if query is None
                else cache.looks(name, picture, number, query, category, leading)
            )
            place = "" if pinned is None or query is None else pinned_place(pinned)
            said = sentence(looks, None, place, bits_of(report), record.coupling == "unary")
            st.html(f'<div class="nl-column"><b>{escape(title)}</b>{said}</div>')
            st.html("".join(range_bar(report, name) for name in HEADLINES))


def chosen_records(picture: Picture, networks: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """Return which record of which network: the first of each, or several of the only one."""
    if len(networks) > 1:
        attending = [name for name in networks if cache.observation(name, picture).records]
        for name in sorted(set(networks) - set(attending)):
            st.info(f"`{short_name(name)}` has no attention block to show.")
        return tuple((name, 0) for name in attending)
    (name,) = networks
    count = len(cache.observation(name, picture).records)
    if count == 1:
        return ((name, 0),)
    titles = [cache.record_name(name, number, picture) for number in range(count)]
    parts = st.multiselect(
        "Blocks and heads",
        titles,
        max_selections=MOST_NETWORKS,
        **kept(PART, titles[:2], among=titles, key="compare_blocks"),
    )
    return tuple((name, titles.index(title)) for title in parts or titles[:1])


compare()
