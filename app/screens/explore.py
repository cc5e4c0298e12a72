"""Explore: one picture, one network; point at a pixel and see where the block looks from there."""

from collections.abc import Sequence
from math import isfinite

import streamlit as st

from analysis import degeneracy, terms
from analysis.record import AttentionRecord
from app import cache
from app.address import keep_address, meant_view, opened_link
from app.components.attribution import show_attribution
from app.components.intervention import show_intervention
from app.components.network_picker import choose_network, choose_record, open_network
from app.components.picture_picker import ask_for_upload, choose_picture, open_in_explore
from app.components.queries import middle_of
from app.components.query_dependence import show_query_dependence
from app.components.range_bar import LEGEND, STYLE, range_bar
from app.explored import Explored, remember
from app.link import Link
from app.networks import image_networks, short_name
from app.pictures import Picture, rendered_picture, sample_picture
from app.viewer import show_viewer


def explore() -> None:
    """Draw the page from top to bottom."""
    title_column, picture_column, network_column = st.columns([4, 3, 4], gap="medium")
    with title_column:
        st.subheader("Nonlocal Lens", anchor=False)
        st.caption("Point at a pixel and see where the network looks from there.")
    link, just_now = opened_link("explored", image_networks())
    if just_now:
        open_what_it_names(link)
    with network_column:
        network_name = choose_network()
    with picture_column:
        picture = choose_picture()
    if picture is None:
        st.info(
            "Choose a file to see what the network attends to in it. It stays on this computer."
        )
        return
    if network_name is None:
        st.info("Choose a network to see what it attends to.")
        return
    show_lens(network_name, picture, link)


def open_what_it_names(link: Link) -> None:
    """Choose the picture and the network that a link names; what it does not name stays."""
    kind, _, name = (link.picture or "").partition("-")
    if kind == "sample":
        open_in_explore(sample_picture(name))
    elif kind == "street":
        open_in_explore(rendered_picture(int(name)))
    elif link.picture is not None:
        ask_for_upload()
    if link.networks:
        block, _, head = (link.blocks or ("",))[0].partition(".head")
        open_network(link.networks[0], block, int(head) if head.isdecimal() else None)


@st.fragment  # a pin reruns this part alone
def show_lens(network_name: str, picture: Picture, link: Link) -> None:
    """Show the viewer, and beside it the numbers of the block and of a pinned query."""
    records = cache.observation(network_name, picture).records
    if not records:
        st.info(f"`{short_name(network_name)}` has no attention block to show.")
        return
    lens_column, numbers_column = st.columns([5, 2], gap="large")
    with numbers_column:
        index = choose_record(records)
    record = records[index]
    with lens_column:
        view = show_viewer(
            cache.payload(network_name, picture, index),
            key=f"viewer-{picture.id}",
            view=meant_view(link, picture.id, (network_name,)),
        )
        query = view.query
        if query is None and view.queries:  # a link's; the viewer chooses the last one, too
            query = view.queries[-1].position(record.query_grid)
    with numbers_column:
        report = cache.report(network_name, picture, index)
        st.markdown(f"**How degenerate is it?** {report.verdict}")
        show_statistics(report, degeneracy.HEADLINES)
        st.caption(LEGEND)
        st.caption(
            f"Block `{record.block}` of `{short_name(network_name)}`: {record.query_grid.height} × "
            f"{record.query_grid.width} queries, {record.key_grid.height} × "
            f"{record.key_grid.width} keys."
        )
        if record.coupling == "unary":
            st.caption("No query takes part: wherever you point, the map is the same.")
        if query is not None and not 0 <= query < record.query_grid.positions:
            query = None  # of another grid
        if query is not None:
            show_pinned(record, query)
    if network_name in image_networks():
        head = "" if record.head is None else f".head{record.head}"
        keep_address(Link(picture.id, (network_name,), (f"{record.block}{head}",), view))
    else:
        keep_address(Link(picture.id, view=view))
        st.caption(
            f"The address names the picture and the pins, but not `{short_name(network_name)}`: "
            "a link opens with a bundled network."
        )
    remember_pins(network_name, picture, record, query)
    show_tabs(network_name, picture, index, query)


def remember_pins(
    network_name: str, picture: Picture, record: AttentionRecord, query: int | None
) -> None:
    """Let the Export page know what is shown and pinned here."""
    grid = record.query_grid
    points = () if query is None else (grid.center(grid.cell(query)),)
    remember(Explored(network_name, picture, record.block, record.head, points))


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


def show_statistics(report: degeneracy.DegeneracyReport, names: Sequence[str]) -> None:
    """Show statistics on their ranges, beside what known attentions would have."""
    st.html(STYLE + "".join(range_bar(report, name) for name in names))


def show_tabs(network_name: str, picture: Picture, index: int, pinned: int | None) -> None:
    """Show what else there is to know; a tab that is not open computes nothing."""
    record = cache.observation(network_name, picture).records[index]
    query = middle_of(record) if pinned is None else pinned
    statistics, dependence, attribution, intervention = st.tabs(
        ["Statistics", "Query dependence", "Attribution", "Intervention"],
        key="explore-tab",
        on_change="rerun",
    )
    if statistics.open:
        with statistics:
            show_all_statistics(cache.report(network_name, picture, index))
    if dependence.open:
        with dependence:
            show_query_dependence(network_name, picture, index)
    if attribution.open:
        with attribution:
            if pinned is None:
                st.caption("No query is pinned: this is of the one in the middle.")
            show_attribution(network_name, picture, record, query)
    if intervention.open:
        with intervention:
            show_intervention(network_name, picture)


def show_all_statistics(report: degeneracy.DegeneracyReport) -> None:
    """Show every statistic that the block has."""
    names = [name for name in degeneracy.STATISTICS if isfinite(getattr(report, name))]
    columns = st.columns(3, gap="large")
    for number, column in enumerate(columns):
        with column:
            show_statistics(report, names[number::3])
    st.caption(f"{LEGEND}. Definitions are under the pointer.")


explore()
