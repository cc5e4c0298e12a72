"""Layers: all heads of one network on one picture, driven by one pointer."""

from collections.abc import Sequence

import streamlit as st

from nonlocal_lens.app import cache
from nonlocal_lens.app.address import keep_address
from nonlocal_lens.app.atlas.choices import FIELDS as CHOICES_OF_WALL
from nonlocal_lens.app.atlas.choices import given_view, keep_choices
from nonlocal_lens.app.atlas.component import bring_part, show_wall
from nonlocal_lens.app.atlas.payload import part_bytes, parts, parts_within, with_view
from nonlocal_lens.app.atlas.walls import AVERAGED, Averaged, Several, Wall, average
from nonlocal_lens.app.components.atlas_files import offer_files
from nonlocal_lens.app.components.network_picker import NETWORK, open_network
from nonlocal_lens.app.components.several_pictures import FIELDS as PICTURES
from nonlocal_lens.app.components.several_pictures import choose_several
from nonlocal_lens.app.components.subject import choose_subject
from nonlocal_lens.app.components.working import working
from nonlocal_lens.app.link import MOST_NETWORKS, Link
from nonlocal_lens.app.networks import short_name
from nonlocal_lens.app.pictures import Picture
from nonlocal_lens.app.session import choose
from nonlocal_lens.app.shown import first_view, named_part
from nonlocal_lens.app.viewer.view import View
from nonlocal_lens.app.views import keep_view, opened_view

# To see a whole wall on: trained ones of this package, and larger ones with random weights.
LEARNED = ("streets-vit", "streets-vit-reg")
RANDOM = ("torchvision:vit_b_16?weights=none", "torchvision:swin_t?weights=none")

UNASKED_BYTES = 256 << 20  # of queries and keys; a browser holds twice as many
FIELDS = (*CHOICES_OF_WALL, *PICTURES)  # of the address, beside picture, network and query

MORE = "atlas more"  # where the session keeps how often more was asked for
GOING = "going to"  # where the session keeps the page that a click on the wall leads to


def layers() -> None:
    """Draw the page from top to bottom."""
    go_where_a_click_leads()
    subject = choose_subject("layers", FIELDS)
    if subject is not None:
        picture, network = subject
        show_network(Wall(network, picture, measured(network, choose_several())))


def measured(network: str, several: Several | None) -> Several | None:
    """Measure a network on several pictures, unless that is done; None where there are none.

    This is no part of what a choice on the wall reruns, so that a click on the page ends it.
    """
    if several is None:
        return None
    place = st.container()
    averaged: Averaged = working(
        (network, several),
        AVERAGED,
        "Measuring picture",
        lambda progress: average(network, several, progress),
        (place, place),
        "A picture",
    )
    if averaged.left_out:
        with st.expander(
            f"{len(averaged.left_out)} could not be measured", icon=":material/error:"
        ):
            rows = [{"picture": name, "why": why} for name, why in averaged.left_out.items()]
            st.dataframe(rows, hide_index=True)
    return several if averaged.means.pictures else None


@st.fragment  # a choice on the wall reruns this part alone
def show_network(wall: Wall) -> None:
    """Show the wall, bring it its parts, and keep the address up with it."""
    network, picture, _ = wall
    records = cache.atlas_subject(network, picture).records
    if not records:
        st.info(f"`{short_name(network)}` has no attention in places of this picture to show.")
        offer_examples()
        return
    if GOING in st.session_state:
        st.rerun(scope="app")
    _, opened = opened_view(picture.id, "layers", first_view(picture))
    given = given_view((picture.id, network, wall.several), opened)
    coming = parts_within(records, UNASKED_BYTES * (1 + chosen_more(network, picture)))
    first = with_view(wall.first, given, coming)
    count = len({(record.block, record.call) for record in records})
    if count == 1:
        offer_examples(f"`{short_name(network)}` has one block of attention: a wall of one row. ")
    files, head = st.container(key="atlas-files"), st.container()
    below = st.container(key="atlas-parts")
    with head:
        chosen = show_wall(
            first,
            key="atlas",
            opened=lambda title: leave(network, picture, [title]),
            compared=lambda titles: leave(network, picture, titles),
        )
    with files:
        offer_files(wall, chosen or given)
    view = keep_choices(chosen)
    with below:
        for number in range(coming):
            bring_part(wall.part(number), key=f"atlas-part-{number}")
    if view is not None:
        keep_view(view, picture.id, "layers")
    shown = view or opened
    keep_address(Link(picture.id, (network,), (), View(queries=shown.queries)), FIELDS)
    offer_more(network, picture, parts(records)[coming:])
    missing = len(cache.observation(network, picture).records) - len(records)
    if missing:
        st.caption(f"{missing} heads are left out: their queries or keys are no places.")


def chosen_more(network: str, picture: Picture) -> int:
    """Return how often more heads of this wall were asked for."""
    return int(st.session_state.get(f"{MORE} {network} {picture.id}", 0))


def offer_more(network: str, picture: Picture, left: Sequence[range]) -> None:
    """Offer the heads of a large network that do not come unasked."""
    if not left:
        return
    records = cache.atlas_subject(network, picture).records
    heads = sum(map(len, left))
    megabytes = sum(part_bytes(records, part) for part in left) / 1e6
    label = f"Bring more of the {heads} other heads ({megabytes:.0f} MB)"
    if st.button(label, icon=":material/add:", key="atlas-more"):
        st.session_state[f"{MORE} {network} {picture.id}"] = chosen_more(network, picture) + 1
        st.rerun(scope="fragment")


def offer_examples(why: str = "") -> None:
    """Offer transformers to see a wall of many heads on, and say whose weights are random."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(f"{why}You can see a whole wall on:")
        for name in LEARNED:
            offer_network(name, name, ":material/school:")
        st.caption("With random weights, nothing learned, on larger ones:")
        for name in RANDOM:
            offer_network(name, f"{short_name(name)}, random weights", ":material/casino:")


def offer_network(name: str, label: str, icon: str) -> None:
    """Show a button that opens a network."""
    if st.button(label, key=f"example-{name}", icon=icon):
        choose(NETWORK, name)
        st.rerun()


def leave(network: str, picture: Picture, titles: Sequence[str]) -> None:
    """Note where a click leads: one head to Explore, several to Compare."""
    st.session_state[GOING] = (network, picture.id, list(titles)[:MOST_NETWORKS])


def go_where_a_click_leads() -> None:
    """Open the heads that were clicked on the page that shows them."""
    going: tuple[str, str, list[str]] | None = st.session_state.pop(GOING, None)
    if going is None:
        return
    network, _, titles = going
    if len(titles) == 1:
        open_network(network, named_part(titles[0]))
        st.switch_page("screens/explore.py")
    choose("compare-networks", [network])
    choose("compare-records", titles)
    choose("compare-own-records", False)
    choose("compare-beside", network)
    st.switch_page("screens/compare.py")


layers()
