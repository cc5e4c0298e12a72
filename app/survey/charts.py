"""Charts of a survey, in the altair that Streamlit ships; Streamlit's theme gives the colors."""

import altair as alt
import pandas as pd

from analysis.degeneracy import STATISTICS
from app.survey.tables import SERIES

POINT = 70  # area, square pixels
ROW = 44  # height of a network's row, pixels
FURNITURE = 130  # height of an axis and a legend, pixels: Streamlit counts them in

GCNET = {
    "input_cosine_distance": "input",
    "output_cosine_distance": "output",
    "cosine_distance": "attention",
}
"""Column -> what GCNet's Table 1 measures the cosine distance of (Cao et al. 2019)."""


def distribution(table: pd.DataFrame, statistic: str) -> alt.LayerChart:
    """Return a statistic's values: a point per picture, a bar at the mean, a row per network."""
    base = alt.Chart(table).encode(
        y=alt.Y(SERIES, type="nominal", title=None, sort=None),
        color=alt.Color(SERIES, type="nominal", legend=None, sort=None),
    )
    points = base.mark_circle(size=POINT, opacity=0.5).encode(
        x=alt.X(statistic, type="quantitative", title=axis_title(statistic))
        .scale(zero=True)
        .axis(format="~g", tickCount=6),
        tooltip=_tooltip([statistic]),
    )
    means = base.mark_tick(thickness=3, size=ROW * 0.6).encode(
        x=alt.X(f"mean({statistic})", type="quantitative"),
        tooltip=alt.Tooltip(f"mean({statistic})", type="quantitative", format=".4f"),
    )
    chart: alt.LayerChart = (points + means).properties(height=_height(table))
    return chart


def share_against_information(table: pd.DataFrame) -> alt.Chart:
    """Return unary share against query information: degenerate blocks lie at the lower right."""
    chart: alt.Chart = (
        alt.Chart(table)
        .mark_circle(size=POINT, opacity=0.65)
        .encode(
            x=alt.X("unary_share", type="quantitative", title=axis_title("unary_share")).scale(
                domain=[0, 1]
            ),
            y=alt.Y(
                "query_information_bits",
                type="quantitative",
                title=axis_title("query_information_bits"),
            ).axis(format="~g", tickCount=6),
            color=_by_network(),
            tooltip=_tooltip(["unary_share", "query_information_bits"]),
        )
        .properties(height=FURNITURE + 240)
    )
    return chart


def lift_by_class(class_table: pd.DataFrame, term: str) -> alt.LayerChart:
    """Return how many times chance attention stays in the query's class; a row per class."""
    shown = class_table[class_table["term"] == term]
    means = shown.groupby(["class", SERIES], sort=False)["lift"].mean().reset_index()
    points = (
        alt.Chart(means)
        .mark_circle(size=1.4 * POINT, opacity=0.85)
        .encode(
            x=alt.X("lift", type="quantitative", title="times chance (mean over pictures)").scale(
                zero=True
            ),
            y=alt.Y("class", type="nominal", title=None, sort=None).axis(labelOverlap=False),
            color=_by_network(),
            tooltip=["class", SERIES, alt.Tooltip("lift", type="quantitative", format=".2f")],
        )
    )
    chance = alt.Chart(pd.DataFrame({"lift": [1.0]})).mark_rule(strokeDash=[4, 4]).encode(x="lift")
    height = FURNITURE + 22 * means["class"].nunique()
    chart: alt.LayerChart = (points + chance).properties(height=height)
    return chart


def gcnet_bars(table: pd.DataFrame) -> alt.Chart:
    """Return mean cosine distances of input, output and attention, as bars per network."""
    long = table.melt(id_vars=[SERIES], value_vars=list(GCNET), value_name="distance").dropna()
    long["of"] = long["variable"].map(GCNET)
    chart: alt.Chart = (
        alt.Chart(long)
        .mark_bar()
        .encode(
            x=alt.X("of", type="nominal", title=None, sort=list(GCNET.values())).axis(labelAngle=0),
            xOffset=alt.XOffset(SERIES, type="nominal", sort=None),
            y=alt.Y("mean(distance)", type="quantitative", title="mean cosine distance"),
            color=_by_network(),
            tooltip=[
                SERIES,
                alt.Tooltip("of", title="of"),
                alt.Tooltip("mean(distance)", type="quantitative", format=".4f"),
            ],
        )
        .properties(height=FURNITURE + 200)
    )
    return chart


def axis_title(statistic: str) -> str:
    """Return a statistic's label with its unit."""
    label, unit, _ = STATISTICS[statistic]
    return f"{label} ({unit})" if unit else label


def _by_network() -> alt.Color:
    legend = alt.Legend(orient="bottom", title=None, columns=2, labelLimit=260)
    return alt.Color(SERIES, type="nominal", sort=None, legend=legend)


def _tooltip(statistics: list[str]) -> list[str | alt.Tooltip]:
    numbers = [
        alt.Tooltip(name, type="quantitative", title=STATISTICS[name].label, format=".4f")
        for name in statistics
    ]
    return ["input", SERIES, *numbers]


def _height(table: pd.DataFrame) -> int:
    return FURNITURE // 2 + ROW * table[SERIES].nunique()
