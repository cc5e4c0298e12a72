"""Charts of a survey, in the altair that Streamlit ships; in the colors of the board."""

import altair as alt
import pandas as pd

from nonlocal_lens.app.survey.at_a_glance import SERIES_COLORS
from nonlocal_lens.app.survey.tables import SERIES

POINT = 70  # area, square pixels
FURNITURE = 130  # height of an axis and a legend, pixels: Streamlit counts them in

GCNET = {
    "input_cosine_distance": "input",
    "output_cosine_distance": "output",
    "cosine_distance": "attention",
}
"""Column -> what GCNet's Table 1 measures the cosine distance of (Cao et al. 2019)."""


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


def _by_network() -> alt.Color:
    legend = alt.Legend(orient="bottom", title=None, columns=2, labelLimit=260)
    scale = alt.Scale(range=list(SERIES_COLORS))
    return alt.Color(SERIES, type="nominal", sort=None, legend=legend, scale=scale)
