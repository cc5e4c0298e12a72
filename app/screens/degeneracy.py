"""Degeneracy: many pictures through some networks, as numbers that stand."""

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from analysis.degeneracy import STATISTICS
from app.components.network_picker import offered_networks, open_network
from app.components.picture_picker import UPLOAD_MEGABYTES, UPLOAD_TYPES, open_in_explore
from app.networks import title_of
from app.pictures import SAMPLES, STREETS, Picture, rendered_picture, sample_picture
from app.pictures import uploaded_picture as read_upload
from app.session import usually
from app.survey import charts
from app.survey.measure import Row
from app.survey.run import Item, Plan, Survey
from app.survey.tables import (
    LABEL_COLUMNS,
    csv_bytes,
    numeric_columns,
    parquet_bytes,
    per_network,
    per_picture,
)
from app.uploads import keep
from models.checkpoints.datasets import classes_by_count
from models.streets import STREET_CLASSES

SAMPLE_SET, RENDERED, OWN = "Samples", "Rendered streets", "Your own"
MOST_STREETS = 10_000
USUAL_NETWORKS = ["streets-dnl", "streets-nl"]
SURVEY = "survey"  # where the session keeps what was measured
REFRESH = 1.0  # seconds


def degeneracy_page() -> None:
    """Draw the page from top to bottom."""
    st.subheader("Degeneracy", anchor=False)
    st.caption("How far attention ignores the query: every statistic, over as many pictures.")
    survey: Survey | None = st.session_state.get(SURVEY)
    running = survey is not None and survey.running
    networks_column, pictures_column = st.columns([1, 1], gap="large")
    with networks_column:
        networks = st.multiselect(
            "Networks",
            offered_networks(),
            format_func=title_of,
            key=usually("survey-networks", USUAL_NETWORKS),
        )
    with pictures_column:
        items, label_classes = choose_items()
    plan = Plan(tuple(networks), tuple(items), label_classes)
    words = f"Measure {len(items)} pictures" if len(items) != 1 else "Measure 1 picture"
    idle = not running and plan.total > 0
    st.button(words, type="primary", disabled=not idle, on_click=start, args=(plan,))
    if not networks:
        st.info("Choose at least one network.")
    if survey is None:
        return
    show_progress(survey)
    show_results(survey)


def start(plan: Plan) -> None:
    """Begin to measure; what was measured before is forgotten."""
    st.session_state[SURVEY] = Survey(plan)


def choose_items() -> tuple[list[Item], tuple[str, ...]]:
    """Let the user choose pictures; return them, and the names of their labels' values."""
    kind = st.segmented_control(
        "Pictures",
        [SAMPLE_SET, RENDERED, OWN],
        required=True,
        key=usually("survey-kind", SAMPLE_SET),
    )
    if kind == SAMPLE_SET:
        st.caption(f"{len(SAMPLES)} photographs, without labels.")
        return [
            Item(sample.title, partial(sample_picture, name)) for name, sample in SAMPLES.items()
        ], ()
    if kind == RENDERED:
        first_column, count_column = st.columns(2)
        first = first_column.number_input("First street", 0, STREETS - 1, key="survey-first")
        count = count_column.number_input(
            "How many", 1, MOST_STREETS, key=usually("survey-count", 10)
        )
        st.caption("Rendered with their labels; no network was trained on them.")
        numbers = range(first, min(first + count, STREETS))
        items = [Item(f"street {number}", partial(rendered_picture, number)) for number in numbers]
        return items, tuple(STREET_CLASSES)
    return _own_items()


def _own_items() -> tuple[list[Item], tuple[str, ...]]:
    """Let the user bring pictures and, maybe, labels of the same names."""
    pictures_column, labels_column = st.columns(2)
    pictures = pictures_column.file_uploader(
        "Pictures",
        UPLOAD_TYPES,
        accept_multiple_files=True,
        max_upload_size=UPLOAD_MEGABYTES,
        key="pictures-files",
    )
    label_files = labels_column.file_uploader(
        "Labels, if there are any",
        ["png"],
        accept_multiple_files=True,
        max_upload_size=UPLOAD_MEGABYTES,
        key="labels-files",
        help="A PNG of 8-bit class indices for each picture, with the picture's name. Indices "
        "beyond the classes are void.",
    )
    classes: tuple[str, ...] = ()
    if label_files:
        count = labels_column.number_input(
            "Classes in the labels", 2, 255, key=usually("survey-classes", len(STREET_CLASSES))
        )
        classes = tuple(STREET_CLASSES)
        if count != len(classes):
            classes, _ = classes_by_count(count)
    labels = {Path(file.name).stem: keep(file.getvalue(), file.name) for file in label_files}
    lonely = sorted(set(labels) - {Path(file.name).stem for file in pictures})
    if lonely:
        labels_column.warning(f"No picture is called like these labels: {', '.join(lonely[:5])}.")
    return [
        Item(
            file.name,
            partial(_read_kept, keep(file.getvalue(), file.name), labels.get(Path(file.name).stem)),
        )
        for file in pictures
    ], classes


def _read_kept(path: Path, labels: Path | None) -> Picture:
    return read_upload(
        path.read_bytes(), path.name, None if labels is None else labels.read_bytes()
    )


def show_progress(survey: Survey) -> None:
    """Show how far a survey is, as long as it runs, with a button that stops it."""
    if not survey.running:
        return

    @st.fragment(run_every=REFRESH)  # the rest of the page stays as it is
    def progress() -> None:
        if not survey.running:
            st.rerun()
        done, total = survey.results.done, survey.plan.total
        left = survey.seconds_left
        words = f"{done} of {total}"
        words += ", loading the networks…" if left is None else f", {duration(left)} left"
        bar_column, button_column = st.columns([6, 1], vertical_alignment="bottom")
        bar_column.progress(done / total, words)
        if button_column.button("Cancel", key="cancel", disabled=survey.cancelled):
            survey.cancel()
            st.toast("It stops after the picture that is under way.")

    progress()


def duration(seconds: float) -> str:
    """Return a time in words that fit its length."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def show_results(survey: Survey) -> None:
    """Show what a survey found so far: tables, charts, and what could not be measured."""
    results = survey.results
    if results.errors:
        failed = pd.DataFrame(results.errors)
        with st.expander(f"{len(failed)} could not be measured", icon=":material/error:"):
            st.dataframe(failed, hide_index=True)
    if survey.cancelled and not survey.running:
        st.info(f"Cancelled after {results.done} of {survey.plan.total}: what was measured stays.")
    if not results.rows:
        if not survey.running:
            st.warning("Nothing could be measured.")
        return
    table = per_picture(list(results.rows))
    st.markdown("**Means over pictures**")
    means = per_network(table)
    st.dataframe(means, hide_index=True, column_config=_columns(means))
    show_charts(table, list(results.class_rows))
    st.markdown("**Every picture**")
    st.caption("Select a row to open its picture and network in Explore.")
    shown = table[["input", "series", *numeric_columns(table), "verdict"]]
    selected = st.dataframe(
        shown,
        hide_index=True,
        column_config=_columns(shown),
        on_select="rerun",
        selection_mode="single-row",
        key="rows",
    )
    files = st.container(horizontal=True)
    files.download_button(
        "CSV", partial(csv_bytes, table), "degeneracy.csv", "text/csv", on_click="ignore"
    )
    files.download_button(
        "Parquet", partial(parquet_bytes, table), "degeneracy.parquet", on_click="ignore"
    )
    if selected.selection.rows:
        open_row(survey, table.iloc[selected.selection.rows[0]])


def show_charts(table: pd.DataFrame, class_rows: list[Row]) -> None:
    """Show the charts for which there are numbers."""
    left, right = st.columns(2, gap="large")
    available = [name for name in STATISTICS if name in numeric_columns(table)]
    with left:
        if st.session_state.get("survey-statistic") not in available:
            usual = "query_information_bits"
            st.session_state["survey-statistic"] = usual if usual in available else available[0]
        statistic = st.selectbox(
            "Distribution over pictures",
            available,
            format_func=lambda name: STATISTICS[name].label,
            key="survey-statistic",
        )
        st.altair_chart(charts.distribution(table, statistic))
        st.markdown("**Cosine distances, as in GCNet's Table 1**")
        st.altair_chart(charts.gcnet_bars(table))
    with right:
        st.markdown("**Unary share against query information**")
        st.altair_chart(charts.share_against_information(table))
        if class_rows:
            term = st.segmented_control(
                "Attention inside the query's own class, over chance",
                ["whole", "pairwise", "unary"],
                required=True,
                key=usually("survey-term", "whole"),
            )
            st.altair_chart(charts.lift_by_class(per_picture(class_rows), term or "whole"))


def open_row(survey: Survey, row: pd.Series) -> None:
    """Open a row's picture, network and block in Explore."""
    open_in_explore(survey.plan.items[int(row["item"])].read())
    head = None if pd.isna(row["head"]) else int(row["head"])
    open_network(row["source"], row["block"], head)
    st.switch_page("screens/explore.py")


def _columns(table: pd.DataFrame) -> dict[str, Any]:
    """Return headings, meanings and formats of a table's columns."""
    column = st.column_config.NumberColumn
    known = {
        name: column(label, help=f"{meaning} Unit: {unit or 'none'}.", format="%.3f")
        for name, (label, unit, meaning) in STATISTICS.items()
    }
    known |= {
        name: column(label, help=meaning, format="%.3f")
        for name, (label, meaning) in LABEL_COLUMNS.items()
    }
    words = {
        "series": "Network",
        "input": "Picture",
        "pictures": "Pictures",
        "verdict": st.column_config.TextColumn("Verdict", width="medium"),
    }
    return {name: setting for name, setting in {**known, **words}.items() if name in table}


degeneracy_page()
