"""The tables of a survey, as files too, and the charts of its papers; all folded at first."""

from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from nonlocal_lens.analysis.degeneracy import STATISTICS
from nonlocal_lens.analysis.tables.rows import Row
from nonlocal_lens.analysis.terms import TERMS
from nonlocal_lens.app.session import kept, kept_open
from nonlocal_lens.app.survey import charts
from nonlocal_lens.app.survey.tables import (
    LABEL_COLUMNS,
    csv_bytes,
    numeric_columns,
    parquet_bytes,
    per_picture,
)


def show_tables(table: pd.DataFrame, means: pd.DataFrame) -> None:
    """Show every statistic, of every picture and as means over them, and offer them as files."""
    with st.expander("All statistics", icon=":material/table:", **kept_open("survey-tables")):
        st.markdown("**Means over pictures**")
        st.dataframe(means, hide_index=True, column_config=column_settings(means))
        st.markdown("**Every picture**")
        shown = table[["input", "series", *numeric_columns(table), "verdict"]]
        st.dataframe(shown, hide_index=True, column_config=column_settings(shown))
        files = st.container(horizontal=True)
        files.download_button(
            "CSV", partial(csv_bytes, table), "degeneracy.csv", "text/csv", on_click="ignore"
        )
        files.download_button(
            "Parquet", partial(parquet_bytes, table), "degeneracy.parquet", on_click="ignore"
        )


def show_charts(table: pd.DataFrame, class_rows: list[Row]) -> None:
    """Show the charts that papers have, as far as there are numbers for them."""
    label = "Distances as in GCNet, and classes"
    with st.expander(label, icon=":material/bar_chart:", **kept_open("survey-more")):
        left, right = st.columns(2, gap="large")
        with left:
            st.markdown("**Cosine distances, as in GCNet's Table 1**")
            st.altair_chart(charts.gcnet_bars(table))
        with right:
            if not class_rows:
                st.caption("How attention keeps to classes needs pictures with labels.")
                return
            term = st.segmented_control(
                "Attention inside the query's own class, over chance",
                TERMS,
                required=True,
                **kept("survey-term", "whole"),
            )
            st.altair_chart(charts.lift_by_class(per_picture(class_rows), term or "whole"))


def column_settings(table: pd.DataFrame) -> dict[str, Any]:
    """Return headings, meanings and formats of a table's columns."""
    column = st.column_config.NumberColumn
    known = {
        name: column(
            known.label, help=f"{known.definition} Unit: {known.unit or 'none'}.", format="%.3f"
        )
        for name, known in STATISTICS.items()
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
