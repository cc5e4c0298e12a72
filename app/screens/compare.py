"""Compare: several networks, blocks or heads on one picture, under one cursor, on one scale."""

import streamlit as st

from app import cache
from app.address import keep_address, meant_view, opened_link
from app.explored import Explored, remember
from app.link import MOST_NETWORKS, Link
from app.markdown import literal
from app.pictures import SAMPLES, STREETS, Picture, rendered_picture, sample_picture
from app.viewer import show_viewer
from app.viewer.view import View
from models import list_networks
from models.zoo import NETWORKS

STREET = "Rendered street"
UPLOAD = "Your own picture…"
RECORDS = "Your own tensors…"
UPLOAD_TYPES = ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff"]

# What Yin et al. 2020 set side by side; those that are bundled are compared at first.
PAPER = ("streets-nl", "streets-dnl", "streets-pairwise", "streets-unary")


def compare() -> None:
    """Draw the page from top to bottom."""
    link, _ = opened_link("compare", available_networks())
    title_column, picture_column, network_column = st.columns([4, 3, 5], gap="medium")
    with title_column:
        st.subheader("Compare", anchor=False)
        st.caption("One cursor, one scale: the same pixel in several networks, blocks or heads.")
    with picture_column:
        picture, records = choose_picture(link)
    with network_column:
        networks = choose_networks(link) if records is None else ()
    if records is not None:
        show_viewer(records, key="viewer-records")
    elif picture is not None and networks:
        show_comparison(picture, networks, link)
    elif picture is not None:
        st.info("Choose at least one network.")


def available_networks() -> list[str]:
    """Return the bundled networks that have attention to show."""
    return [name for name in list_networks("segmentation") if NETWORKS[name].architecture.block]


def choose_picture(link: Link) -> tuple[Picture | None, bytes | None]:
    """Let the user choose a picture, or a file of records; what is not chosen is None."""
    labels = {name: sample.title for name, sample in SAMPLES.items()}
    options = [*labels, STREET, UPLOAD, RECORDS]
    name = st.selectbox(
        "Picture",
        options,
        index=options.index(picture_option(link)),
        format_func=lambda key: labels.get(key, key),
        key="compare_picture",
    )
    if name == STREET:
        first = (
            (link.picture or "").removeprefix("street-") if picture_option(link) == STREET else ""
        )
        number = st.number_input(
            "Street number", 0, STREETS - 1, int(first or 0), key="compare_street"
        )
        return rendered_picture(number), None
    if name not in (UPLOAD, RECORDS):
        return sample_picture(name), None
    if name == UPLOAD and picture_option(link) == UPLOAD:
        st.info("This link shows a picture that was uploaded: choose the same file again.")
    types = UPLOAD_TYPES if name == UPLOAD else ["safetensors", "npz"]
    file = st.file_uploader("File", types, max_upload_size=100, key=f"compare_{name}")
    if file is None:
        return None, None
    try:
        if name == UPLOAD:
            return cache.upload(file.getvalue(), file.name), None
        return None, cache.record_file(file.getvalue(), file.name)
    except ValueError as error:
        st.error(f"This file cannot be used: {literal(str(error))}.")
        st.stop()


def picture_option(link: Link) -> str:
    """Return the entry of the list of pictures that a link stands for."""
    if link.picture is None:
        return next(iter(SAMPLES))
    if link.picture.startswith("sample-"):
        return link.picture.removeprefix("sample-")
    return STREET if link.picture.startswith("street-") else UPLOAD


def choose_networks(link: Link) -> tuple[str, ...]:
    """Let the user choose up to four networks."""
    names = available_networks()
    first = link.networks or tuple(name for name in PAPER if name in names)
    chosen = st.multiselect(
        "Networks",
        names,
        default=list(first),
        max_selections=MOST_NETWORKS,
        key="compare_networks",
        help="\n".join(f"- `{name}`: {NETWORKS[name].summary}" for name in names),
    )
    return tuple(chosen)


@st.fragment  # a pin reruns this part alone
def show_comparison(picture: Picture, networks: tuple[str, ...], link: Link) -> None:
    """Show the viewer, and keep the address up with what it shows."""
    chosen = chosen_records(picture, networks, link)
    opened = meant_view(link, picture.id, networks)
    if link == Link() and len(chosen) == 2:
        opened = View(difference=(0, 1))
    payload = cache.comparison(chosen, picture)
    view = show_viewer(payload, key=f"compare-{picture.id}", view=opened)
    blocks = tuple(
        dict.fromkeys(cache.record_name(name, number, picture) for name, number in chosen)
    )
    points = tuple(query.middle for query in view.queries)
    remember(Explored(networks[0], picture, "", None, points, networks[1:]))
    keep_address(Link(picture.id, networks, blocks, view))


def chosen_records(
    picture: Picture, networks: tuple[str, ...], link: Link
) -> tuple[tuple[str, int], ...]:
    """Return which record of which network: the first of each, or several of the only one."""
    if len(networks) > 1:
        return tuple((name, 0) for name in networks)
    (name,) = networks
    count = len(cache.observation(name, picture).records)
    if count == 1:
        return ((name, 0),)
    titles = [cache.record_name(name, number, picture) for number in range(count)]
    first = [number for number, title in enumerate(titles) if title in link.blocks] or [0, 1]
    numbers = st.multiselect(
        "Blocks and heads",
        range(count),
        default=first,
        format_func=lambda number: titles[number],
        max_selections=MOST_NETWORKS,
        key="compare_blocks",
    )
    return tuple((name, number) for number in numbers or [0])


compare()
