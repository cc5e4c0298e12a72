"""Take a wall of heads away: figures, a page of its own, a table."""

from collections.abc import Callable
from functools import partial
from typing import Any

import streamlit as st

from nonlocal_lens.app import cache
from nonlocal_lens.app.atlas.payload import Subject
from nonlocal_lens.app.atlas.taken import figure_file, html_page, point_of, table_csv
from nonlocal_lens.app.pictures import Picture

KINDS = {
    "png": "image/png",
    "svg": "image/svg+xml",
    "pdf": "application/pdf",
    "html": "text/html",
    "csv": "text/csv",
}
HELP = "Drawn when you press it, as the wall is arranged now; HTML is the wall itself, offline."


def offer_files(network: str, picture: Picture, subject: Subject, view: dict[str, Any]) -> None:
    """Offer the wall as files of several kinds.

    Args:
        network: What `load_network` takes.
        picture: What it looked at.
        subject: What came of it.
        view: What the wall shows.
    """
    point = point_of(subject, view)
    stem = f"{subject.title}.{picture.name}.atlas".replace(" ", "-").replace("/", "-")
    make: dict[str, Callable[[], bytes]] = {
        kind: partial(_figure, network, picture, subject, view, point, kind)
        for kind in ("png", "svg", "pdf")
    }
    make["html"] = lambda: html_page(subject, cache.atlas_buffers(network, picture), view)
    make["csv"] = lambda: table_csv(subject, cache.atlas_all_heads(network, picture))
    popover = st.popover("Save", icon=":material/download:", type="tertiary", help=HELP)
    with popover, st.container(horizontal=True, gap="small"):
        for kind, mime in KINDS.items():
            st.download_button(
                kind.upper(),
                make[kind],
                f"{stem}.{kind}",
                mime,
                key=f"atlas-save-{kind}",
                on_click="ignore",
            )


def _figure(
    network: str,
    picture: Picture,
    subject: Subject,
    view: dict[str, Any],
    point: tuple[float, float],
    kind: str,
) -> bytes:
    return figure_file(subject, cache.atlas_all_heads(network, picture), view, point, kind)
