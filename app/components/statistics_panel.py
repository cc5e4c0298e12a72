"""Every statistic of a block, in groups, each explained in a sentence."""

from math import isfinite

import streamlit as st

from nonlocal_lens.analysis.degeneracy import STATISTICS, DegeneracyReport
from nonlocal_lens.analysis.statistics.sinks import SINK
from nonlocal_lens.app.components.range_bar import range_bar

GROUPS = {
    "How selective, and is it the query?": (
        *("selectivity_bits", "unary_bits", "query_information_bits", "unary_information_share"),
        *("normalized_mutual_information", "entropy_bits", "perplexity"),
    ),
    "Does one key take it all?": (
        *("sink_share", "sink_concentration", "sink_rate", "sink_routed", "participation_ratio"),
        *("sink_value_ratio", "update_stable_rank"),
        *("token_share", "token_information_bits", "place_information_bits"),
    ),
    "How different are the maps?": (
        *("cosine_distance", "jsd_nats", "effective_rank", "unary_share", "stable_rank"),
    ),
    "How far does it look?": ("attention_distance", "self_mass", "local_mass"),
    "What is attention made of, and what does it make?": (
        *("input_cosine_distance", "query_cosine_distance", "key_cosine_distance"),
        "output_cosine_distance",
    ),
}
"""Question -> the statistics that answer it; those of other packages follow by themselves."""

OTHERS = "Also measured"


def grouped_statistics(report: DegeneracyReport) -> dict[str, list[str]]:
    """Return the names of the statistics that a block has, by the question they answer."""
    known = [name for name in STATISTICS if isfinite(getattr(report, name))]
    placed = {name for names in GROUPS.values() for name in names}
    groups = {
        question: [name for name in names if name in known] for question, names in GROUPS.items()
    }
    groups[OTHERS] = [name for name in known if name not in placed]
    return {question: names for question, names in groups.items() if names}


def sink_in_words(report: DegeneracyReport) -> str:
    """Return what the sink is and does, or which key gets most where none is; "" for nothing."""
    share = report.sink_share
    if share != share or report.keys < 2:
        return ""
    return report.sink_sentence or (
        f"No: most attention, {share:.1%}, goes to {report.sink_key}, and a sink begins at "
        f"{SINK:.0%}."
    )


def show_statistics(report: DegeneracyReport) -> None:
    """Show every statistic that the block has, in three columns, each where it belongs."""
    groups = grouped_statistics(report)
    cards = {
        question: f"<h4>{question}</h4>" + "".join(range_bar(report, name) for name in names)
        for question, names in groups.items()
    }
    columns: list[list[str]] = [[], [], []]
    heights = [0, 0, 0]
    for question, names in groups.items():
        least = heights.index(min(heights))
        columns[least].append(cards[question])
        heights[least] += 1 + len(names)
    for column, held in zip(st.columns(3, gap="large"), columns, strict=True):
        column.html("".join(held))
