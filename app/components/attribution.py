"""Is attention an explanation here? A query's attention beside what its output depends on."""

import streamlit as st

from analysis import terms
from analysis.attribution import METHODS, Attribution, compare
from analysis.explanation import explanation_score, explanation_verdict
from analysis.record import AttentionRecord
from app import cache
from app.abilities import scores_pixels
from app.components.painting import color_bar, painted
from app.components.queries import place_of
from app.components.range_bar import number_text
from app.networks import short_name
from app.pictures import Picture

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
    if not scores_pixels(module, output, record.block):
        st.info(
            "An attribution is of the score of a class at a pixel, through a block whose gradients "
            f"can be followed: `{short_name(network_name)}` does not offer both."
        )
        return
    methods = st.pills(
        "Attributions, by captum",
        list(METHODS),
        selection_mode="multi",
        format_func=lambda name: LABELS[name] + ("" if name in QUICK else " (slow)"),
        default=QUICK,
        key="attribution-methods",
    )
    asked = (network_name, picture.id, record.block, query, *methods)
    st.caption(f"Of the most likely class at {place_of(record, query)}.")
    if st.button("Compute", type="primary", disabled=not methods, key="attribute"):
        st.session_state[ASKED] = asked
    if st.session_state.get(ASKED) != asked or not methods:
        return
    found = []
    waiting = st.empty()
    for number, method in enumerate(methods):
        waiting.progress(number / len(methods), f"{LABELS[method]}…")
        found.append(cache.attribution(network_name, picture, record.block, query, method))
    waiting.empty()
    show_agreement(record, query, found, module.classes[found[0].target])
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
            f"Is attention an explanation of “{target}” here?",
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
        st.caption("Spearman's rank correlation over keys, and the mass that both maps share.")


def show_maps(
    picture: Picture, record: AttentionRecord, query: int, found: list[Attribution]
) -> None:
    """Show the row and the attributions, each as shares of its sum, on one scale."""
    row = terms.attention(record, [query])[0].abs()
    maps = {"Attention": row, **{LABELS[one.method]: one.relevance for one in found}}
    keys = record.key_grid.positions
    shares = {
        label: (values / values.sum().clamp_min(1e-30) * keys).double().numpy()
        for label, values in maps.items()
    }
    top = max(
        3.0, *(sorted(values)[int(SHOWN_QUANTILE * (keys - 1))] for values in shares.values())
    )
    columns = st.columns(len(shares))
    for column, (label, values) in zip(columns, shares.items(), strict=True):
        with column:
            st.markdown(f"**{label}**")
            st.image(
                painted(picture.image, record.key_grid, values, top),
                alt=f"{label}, up to {values.max():.3g} times uniform",
                width="stretch",
            )
    st.html(color_bar(top, "multiples of uniform: each map divided by its sum, one scale for all"))
