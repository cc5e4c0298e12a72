"""The top of the pages that look at one picture with one network."""

from collections.abc import Sequence

import streamlit as st

from nonlocal_lens.app.address import opened_link
from nonlocal_lens.app.address_fields import Field
from nonlocal_lens.app.components import places
from nonlocal_lens.app.components.bar import choose_picture_in_bar, show_shelf
from nonlocal_lens.app.components.network_picker import choose_network, open_network
from nonlocal_lens.app.components.picture_picker import current_picture, open_known
from nonlocal_lens.app.pictures import Picture
from nonlocal_lens.app.shown import named_part
from nonlocal_lens.app.views import take_view


def choose_subject(page: str, fields: Sequence[Field] = ()) -> tuple[Picture, str] | None:
    """Let the user choose a picture and a network, first a link's; None if one is missing.

    Args:
        page: Whose link and view it is.
        fields: What else a link of the page may hold.
    """
    link = opened_link(page, fields)
    if link is not None:
        open_known(link.picture)
        if link.networks:
            open_network(link.networks[0], named_part((link.blocks or ("",))[0]))
        take_view(link, current_picture(), page)
    bar = places.bar()
    with bar:
        show_shelf()
        picture = choose_picture_in_bar()
    network = choose_network(bar=bar)
    if picture is None:
        st.info(
            "Choose a file to see what the network attends to in it. It stays on this computer."
        )
        return None
    if network is None:
        st.info("Choose a network to see what it attends to.")
        return None
    return picture, network
