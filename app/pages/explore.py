"""Explore: one picture, one network; point at a pixel and see where the block looks from there."""

from math import isfinite

import streamlit as st

from analysis import degeneracy, terms
from analysis.record import AttentionRecord
from app import cache
from app.pictures import SAMPLES, STREETS, Picture, rendered_picture, sample_picture
from app.viewer import attention_viewer
from models import list_networks
from models.zoo import NETWORKS

RENDERED = "Rendered street"
UPLOAD = "Your own picture…"
UPLOAD_TYPES = ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff"]
UPLOAD_MEGABYTES = 20


def explore() -> None:
    """Draw the page from top to bottom."""
    title_column, picture_column, network_column = st.columns([4, 3, 4], gap="medium")
    with title_column:
        st.subheader("Nonlocal Lens", anchor=False)
        st.caption("Point at a pixel and see where the network looks from there.")
    with network_column:
        network_name = choose_network()
    with picture_column:
        picture = choose_picture()
    if picture is None:
        st.info(
            "Choose a file to see what the network attends to in it. It stays on this computer."
        )
        return

    show_lens(network_name, picture)


def choose_network() -> str:
    """Let the user choose a network that has attention to show."""
    names = [name for name in list_networks() if NETWORKS[name].architecture.block]
    summaries = "\n".join(f"- `{name}`: {NETWORKS[name].summary}" for name in names)
    return st.segmented_control(
        "Network", names, default=names[0], required=True, key="network", help=summaries
    )


def choose_picture() -> Picture | None:
    """Let the user choose a sample or a street, or bring a picture; None until there is one."""
    labels = {name: sample.title for name, sample in SAMPLES.items()}
    options = [*labels, RENDERED, UPLOAD]
    name = st.selectbox(
        "Picture", options, format_func=lambda key: labels.get(key, key), key="picture"
    )
    if name == RENDERED:
        number = st.number_input(
            "Street number", 0, STREETS - 1, key="street", help="Each number is another street."
        )
        return rendered_picture(number)
    if name != UPLOAD:
        return sample_picture(name)
    file = st.file_uploader("File", UPLOAD_TYPES, max_upload_size=UPLOAD_MEGABYTES, key="file")
    if file is None:
        return None
    try:
        return cache.upload(file.getvalue())
    except ValueError as error:
        st.error(f"This picture cannot be used: {error}.")
        st.stop()


@st.fragment  # a pin reruns this part alone
def show_lens(network_name: str, picture: Picture) -> None:
    """Show the viewer, and beside it the numbers of the block and of a pinned query."""
    record = cache.observation(network_name, picture).records[0]
    lens_column, numbers_column = st.columns([5, 2], gap="large")
    with lens_column:
        query = attention_viewer(cache.payload(network_name, picture), key=f"viewer-{picture.id}")
    with numbers_column:
        show_degeneracy(cache.report(network_name, picture))
        st.caption(
            f"Block `{record.block}` of `{network_name}`: {record.query_grid.height} × "
            f"{record.query_grid.width} queries, {record.key_grid.height} × "
            f"{record.key_grid.width} keys."
        )
        if record.coupling == "unary":
            st.caption("No query takes part: wherever you point, the map is the same.")
        if query is not None and 0 <= query < record.query_grid.positions:
            show_pinned(record, query)


def show_pinned(record: AttentionRecord, query: int) -> None:
    """Show where a pinned query looks most, in numbers computed by torch in single precision."""
    cell = record.query_grid.cell(query)
    x, y = record.query_grid.center(cell)
    keys = record.key_grid.positions
    rows = {term: terms.attention(record, [query], term)[0] * keys for term in terms.TERMS}
    strongest = rows["whole"].topk(min(5, keys)).indices.tolist()
    st.markdown(f"**Pinned query** x {x:.0f}, y {y:.0f} (row {cell.row}, column {cell.col})")
    table = []
    for position in strongest:
        key_x, key_y = record.key_grid.center(record.key_grid.cell(position))
        weights = {term.capitalize(): round(rows[term][position].item(), 3) for term in terms.TERMS}
        table.append({"Key at x, y": f"{key_x:.0f}, {key_y:.0f}", **weights})
    st.dataframe(table, hide_index=True)
    unit = "as logits" if record.coupling == "unnormalized" else "in multiples of uniform"
    st.caption(f"Its strongest keys, {unit}, by torch in single precision.")


def show_degeneracy(report: degeneracy.DegeneracyReport) -> None:
    """Show how far this block ignores the query, as numbers with their ranges."""
    st.markdown("**How degenerate is it?**")
    if isfinite(report.unary_share):
        st.markdown(
            f"{report.unary_share:.1%} of what this block's logits say is the same for every query."
        )
    row = st.container(horizontal=True)
    for name in degeneracy.HEADLINES:
        statistic = degeneracy.STATISTICS[name]
        value, (low, high) = getattr(report, name), report.bounds(name)
        unit = statistic.unit
        with row.container(gap="xxsmall", width=150):
            digits = 3 if abs(value) < 1 else 2
            shown = f"{value:.{digits}f} {unit}" if isfinite(value) else "undefined"
            st.metric(statistic.label, shown, help=statistic.definition)
            st.caption(f"of {low:g} to {high:.4g} {unit}")


explore()
