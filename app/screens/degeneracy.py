"""Degeneracy: many pictures through some networks, as numbers that stand."""

from collections.abc import Mapping
from math import log2
from typing import Any, NamedTuple

import pandas as pd
import streamlit as st

from nonlocal_lens.analysis.degeneracy import STATISTICS
from nonlocal_lens.analysis.image_independence import UnaryMaps
from nonlocal_lens.analysis.terms import TERMS
from nonlocal_lens.app.address import keep_address, networks_field, opened_link
from nonlocal_lens.app.address_fields import Field, number, one_of, ranges, words
from nonlocal_lens.app.components.bits_bar import Bits, bits_bars
from nonlocal_lens.app.components.board import PICKED, SORT, survey_board
from nonlocal_lens.app.components.network_picker import offered_networks, open_network
from nonlocal_lens.app.components.picture_picker import open_picture
from nonlocal_lens.app.components.survey_pictures import (
    KINDS,
    MOST_STREETS,
    OWN,
    RENDERED,
    choose_kind,
    choose_streets,
    items_of,
    own_items,
)
from nonlocal_lens.app.components.survey_tables import show_charts, show_tables
from nonlocal_lens.app.components.time_left import duration
from nonlocal_lens.app.line import turns_of_others
from nonlocal_lens.app.link import Link
from nonlocal_lens.app.markdown import literal
from nonlocal_lens.app.networks import title_of
from nonlocal_lens.app.pictures import STREETS
from nonlocal_lens.app.session import chosen, forget, kept, opening
from nonlocal_lens.app.shown import Part
from nonlocal_lens.app.survey.at_a_glance import board_data, shown_series
from nonlocal_lens.app.survey.independence import independence_sentences
from nonlocal_lens.app.survey.paired import Paired, paired_difference, paired_sentence
from nonlocal_lens.app.survey.run import PART, Plan, Results, Survey
from nonlocal_lens.app.survey.tables import numeric_columns, per_network, per_picture
from nonlocal_lens.app.tabs import current_tab

USUAL_NETWORKS = ["streets-dnl", "streets-nl"]
SURVEY = "survey"  # where the session keeps what was measured
AT_ONCE = 40  # runs of a network that begin without a click
REFRESH = 1.0  # seconds
STATISTIC, ONE, OTHER = "survey-statistic", "survey-one", "survey-other"
USUAL_STATISTIC = "query_information_bits"


def degeneracy_page() -> None:
    """Draw the page from top to bottom."""
    st.html(
        '<div class="nl-title"><h2>Degeneracy</h2><p>Does attention depend on where one points? '
        "Every statistic, over as many pictures as you like.</p></div>"
    )
    opened_link("degeneracy", fields_of_page())
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="survey-bar"):
        networks = st.multiselect(
            "Networks",
            offered_networks(),
            format_func=title_of,
            width=430,
            **kept("survey-networks", USUAL_NETWORKS, among=offered_networks()),
        )
        kind = choose_kind()
        numbers = choose_streets() if kind == RENDERED else None
        button = st.empty()
    items, label_classes = own_items() if kind == OWN else items_of(kind, numbers)
    plan = Plan(tuple(networks), tuple(items), label_classes)
    with button:
        drawn = offer(plan)
    if not networks:
        st.info("Choose at least one network.")
    survey: Survey | None = st.session_state.get(SURVEY)
    if survey is None or drawn is None:
        keep_address(Link(), fields_of_page())
    else:
        show_survey(survey, drawn)


def fields_of_page() -> list[Field]:
    """Return what the address of the page names."""
    return [
        networks_field("networks", "survey-networks"),
        one_of("pictures", "survey-kind", KINDS),
        number("first", "survey-first", 0, STREETS - 1),
        number("count", "survey-count", 1, MOST_STREETS),
        one_of("statistic", STATISTIC, list(STATISTICS)),
        words("of", ONE),
        words("less", OTHER),
        ranges("picked", PICKED),
        words("sort", SORT),
        one_of("term", "survey-term", TERMS),
    ]


def offer(plan: Plan) -> "News | None":
    """Let the user begin; what is small begins by itself when there is nothing yet.

    Returns what there is of a survey while this is drawn.
    """
    survey: Survey | None = st.session_state.get(SURVEY)
    if survey is None and 0 < plan.total <= AT_ONCE and chosen("survey-kind") != OWN:
        survey = st.session_state[SURVEY] = Survey(plan, tab=current_tab())
    drawn = None if survey is None else news_of(survey)
    running = drawn is not None and drawn.running
    shown = survey is not None and survey.plan.same_as(plan)
    count = len(plan.items)
    st.button(
        f"Measure {count} pictures" if count != 1 else "Measure 1 picture",
        type="secondary" if shown else "primary",
        disabled=plan.total == 0 or (running and shown),
        on_click=start,
        args=(plan,),
        help=None if shown or survey is None else "What is shown below was measured before.",
    )
    return drawn


def start(plan: Plan) -> None:
    """Begin to measure; what was measured before, and picked of it, is forgotten."""
    before: Survey | None = st.session_state.get(SURVEY)
    if before is not None:
        before.cancel()
    st.session_state[SURVEY] = Survey(plan, tab=current_tab())
    forget(PICKED)


def show_survey(survey: Survey, drawn: "News") -> None:
    """Show how far a survey is, again and again, and what it found, anew where there is more.

    Each has its place from the start: what comes or goes above moves nothing below.
    """
    progress, results = st.container(), st.container()
    with progress:
        st.fragment(show_progress, run_every=REFRESH if drawn.running else None)(survey, drawn)
    with results:
        st.fragment(show_results)(survey)


class News(NamedTuple):
    """What tells apart what is to be drawn of a survey: its results, and its buttons."""

    number: int
    done: int
    running: bool


def news_of(survey: Survey) -> News:
    """Return what there is of a survey now."""
    running = survey.running  # first: what is over has no more to come
    return News(survey.number, survey.results.done, running)


def show_progress(survey: Survey, drawn: News) -> None:
    """Show how far a survey is, as long as it runs, with a button that stops it.

    This alone is drawn every second: whatever more is drawn takes time from what is measured.
    """
    if news_of(survey) != drawn:
        st.rerun()
    if not survey.running:
        return
    done, total = survey.results.done, survey.plan.total
    left = survey.seconds_left
    said = f"{done} of {total}"
    said += ", loading the networks…" if left is None else f", {duration(left)} left"
    if ahead := survey.ahead:
        said += f"; {turns_of_others(ahead)}"
    line = st.container(horizontal=True, vertical_alignment="bottom")
    line.progress(done / total, said)
    if line.button("Cancel", key="cancel", disabled=survey.cancelled):
        survey.cancel()
        st.toast("It stops after the picture that is under way.")


def show_results(survey: Survey) -> None:
    """Show what a survey found so far: in words, at a glance, in tables; and what went wrong."""
    keep_address(Link(), fields_of_page())
    results = survey.results
    if results.errors:
        failed = pd.DataFrame(results.errors)
        with st.expander(f"{len(failed)} could not be measured", icon=":material/error:"):
            st.dataframe(failed, hide_index=True)
    for note in results.notes:
        st.caption(literal(f"{note}."))
    if survey.cancelled and not survey.running:
        st.info(f"Cancelled after {results.done} of {survey.plan.total}: what was measured stays.")
    if not results.rows:
        if not survey.running:
            st.warning("Nothing could be measured.")
        return
    table = per_picture(list(results.rows))
    means = per_network(table)
    names = shown_series(table)
    bits_column, words_column = st.columns(2, gap="medium")
    statistic, paired = choose_what_is_compared(table, names)
    with bits_column:
        known = {row["series"]: mean_bits(row, table) for row in means.to_dict("records")}
        st.html(bits_bars({name: known[name] for name in names}))
    with words_column:
        said = [paired_sentence(paired)] if paired is not None else []
        said += independence_sentences(maps_by_series(table, results), names)
        st.html('<div class="nl-said">' + "".join(f"<p>{one}</p>" for one in said) + "</div>")
    opened = survey_board(
        board_data(table, statistic, paired, results.thumbnails),
        f"{opening()}.{survey.number}",
    )
    if len(names) < means.shape[0]:
        st.caption(
            f"The first {len(names)} of {means.shape[0]} blocks and heads are drawn; the table "
            "below has all."
        )
    show_tables(table, means)
    show_charts(table, list(results.class_rows))
    if opened is not None:
        open_row(survey, table, *opened)


def maps_by_series(table: pd.DataFrame, results: Results) -> dict[str, UnaryMaps | None]:
    """Return the unary maps of every series of a table."""
    first = table.drop_duplicates("series").to_dict("records")
    parts = {row["series"]: tuple(row[name] for name in PART) for row in first}
    return {name: results.unary_maps.get(part) for name, part in parts.items()}


def mean_bits(row: Mapping[Any, Any], table: pd.DataFrame) -> Bits:
    """Return the mean over pictures of the two parts of selectivity."""
    keys = table.loc[table["series"] == row["series"], "keys"].max()
    return Bits(row["unary_bits"], row["query_information_bits"], log2(keys))


def choose_what_is_compared(table: pd.DataFrame, names: list[str]) -> tuple[str, Paired | None]:
    """Let the user choose a statistic, and two networks whose difference is of interest."""
    available = [name for name in STATISTICS if name in numeric_columns(table)]
    usual = USUAL_STATISTIC if USUAL_STATISTIC in available else available[0]
    statistic_column, one_column, other_column = st.columns([2, 1, 1])
    statistic = statistic_column.selectbox(
        "Statistic",
        available,
        format_func=lambda name: STATISTICS[name].label,
        help="What the dots and the table show.",
        **kept(STATISTIC, usual, among=available),
    )
    if len(names) < 2:
        return statistic, None
    one = one_column.selectbox("Difference of", names, **kept(ONE, names[0], among=names))
    others = [name for name in names if name != one]
    other = other_column.selectbox("less", others, **kept(OTHER, others[0], among=others))
    return statistic, paired_difference(table, statistic, one, other)


def open_row(survey: Survey, table: pd.DataFrame, item: int, series: int) -> None:
    """Open a picture, a network and a block that were measured in Explore."""
    name = shown_series(table)[series]
    row = table[(table["item"] == item) & (table["series"] == name)].iloc[0]
    open_picture(survey.plan.items[item].read())
    head = None if pd.isna(row["head"]) else int(row["head"])
    open_network(row["source"], Part(row["block"], head, int(row["call"])))
    st.switch_page("screens/explore.py")


degeneracy_page()
