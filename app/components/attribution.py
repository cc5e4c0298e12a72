"""Is attention an explanation here? A query's attention beside what its output depends on."""

import numpy as np
import streamlit as st

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.attribution import METHODS, Attribution, compare
from nonlocal_lens.analysis.capture import attention_blocks
from nonlocal_lens.analysis.effects import scores_of
from nonlocal_lens.analysis.explanation import explanation_score, explanation_verdict
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.app import cache
from nonlocal_lens.app.capabilities import class_name, scores_classes
from nonlocal_lens.app.components.painting import color_bar, painted
from nonlocal_lens.app.components.queries import place_of
from nonlocal_lens.app.components.range_bar import number_text
from nonlocal_lens.app.networks import short_name
from nonlocal_lens.app.pictures import Picture
from nonlocal_lens.app.session import kept

LABELS = {
    "grad_cam": "Layer Grad-CAM",
    "integrated_gradients": "Integrated gradients",
    "saliency": "Saliency",
    "occlusion": "Occlusion",
}
QUICK = [name for name in METHODS if name != "occlusion"]
ASKED = "attribution asked for"  # where the session keeps what was last computed
SHOWN_QUANTILE = 0.995  # of a map's cells that lie below the brightest color


def show_attribution(
    network_name: str, picture: Picture, record: AttentionRecord, query: int
) -> None:
    """Show attributions of the class score at a query beside its row of attention, and numbers."""
    module, _ = cache.network(network_name)
    output = cache.observation(network_name, picture).output
    if not scores_classes(output) or not record.key_axis.placed:
        st.info(
            "An attribution is of the score of a class, to places of the picture: "
            f"`{short_name(network_name)}` does not offer both in this block."
        )
        return
    if record.call:
        st.info("An attribution is compared with the first run of a block: choose run 1.")
        return
    of_pixels = scores_of(output).ndim > 2
    if of_pixels and query >= record.query_axis.placed:
        st.info("This network scores pixels: pin a place, which has a score, instead of a token.")
        return
    offered = [
        name
        for name in METHODS
        if name != "grad_cam" or record.block in attention_blocks(module)  # it needs a map
    ]
    methods = st.pills(
        "Attributions, by captum",
        offered,
        selection_mode="multi",
        format_func=lambda name: LABELS[name] + ("" if name in QUICK else " (slow)"),
        **kept("attribution-methods", [n for n in QUICK if n in offered], among=offered),
    )
    asked = (network_name, picture.id, record.block, record.head, query, *methods)
    where = f"at {place_of(record, query)}" if of_pixels else "of the picture"
    st.caption(f"Of the most likely class {where}.")
    if st.button("Compute", type="primary", disabled=not methods, key="attribute"):
        st.session_state[ASKED] = asked
    if st.session_state.get(ASKED) != asked or not methods:
        return
    found = []
    waiting = st.empty()
    for number, method in enumerate(methods):
        waiting.progress(
            number / len(methods), f"{LABELS[method]}: {number + 1} of {len(methods)}…"
        )
        found.append(
            cache.attribution(network_name, picture, record.block, record.head, query, method)
        )
    waiting.empty()
    show_agreement(record, query, found, class_name(module, found[0].target))
    show_maps(picture, record, query, found)


def show_agreement(
    record: AttentionRecord, query: int, found: list[Attribution], target: str
) -> None:
    """Say in a number and a sentence whether attention is an explanation, with all comparisons."""
    compared = {one.method: compare(record, query, one) for one in found}
    scores = {
        term: explanation_score([by_term[term] for by_term in compared.values()])
        for term in terms.TERMS
    }
    answer, table_column = st.columns([2, 3], gap="large")
    with answer:
        st.metric(
            f"Is attention an explanation of “predicted {target}” here?",
            number_text(scores["whole"]),
            help="How far the row closes the gap between uniform attention and the attribution: "
            "(overlap - overlap of uniform) / (1 - overlap of uniform), mean over the "
            "attributions. 1 is the same map, 0 as good as looking everywhere alike.",
        )
        st.markdown(explanation_verdict(scores["whole"]))
        st.caption(
            f"Pairwise term {number_text(scores['pairwise'])}, "
            f"unary term {number_text(scores['unary'])}."
        )
    rows = []
    for method, by_term in compared.items():
        row: dict[str, str | float] = {"Attribution": LABELS[method]}
        for term, pointed in by_term.items():
            row[f"{term}: rank corr."] = round(pointed.rank_correlation, 3)
            row[f"{term}: overlap"] = round(pointed.overlap, 3)
        row["uniform: overlap"] = round(by_term["whole"].uniform_overlap, 3)
        rows.append(row)
    with table_column:
        st.dataframe(rows, hide_index=True)
        st.caption(
            "Spearman's rank correlation over the keys that are places, and the mass that both "
            "maps share."
        )


def show_maps(
    picture: Picture, record: AttentionRecord, query: int, found: list[Attribution]
) -> None:
    """Show the row and the attributions, each as shares of its sum, on one scale."""
    axis = record.key_axis
    assert axis.grid is not None  # `show_attribution` asks for nothing else
    keys = axis.placed
    row = terms.attention(record, [query])[0, :keys].abs()
    maps = {"Attention": row, **{LABELS[one.method]: one.relevance for one in found}}
    shares = {}
    for label, relevance in maps.items():
        shares[label] = np.zeros(axis.grid.positions)
        multiples = relevance.double() / relevance.sum().clamp_min(1e-30) * keys
        shares[label][axis.all_cells] = multiples.numpy()
    top = max(
        3.0, *(sorted(values)[int(SHOWN_QUANTILE * (keys - 1))] for values in shares.values())
    )
    columns = st.columns(len(shares))
    for column, (label, values) in zip(columns, shares.items(), strict=True):
        with column:
            st.markdown(f"**{label}**")
            st.image(
                painted(picture.image, axis.grid, values, top),
                alt=f"{label}, up to {values.max():.3g} times uniform",
                width="stretch",
            )
    st.html(color_bar(top, "multiples of uniform: each map divided by its sum, one scale for all"))
