"""Take a wall of heads away: figures, a page of its own, a table."""

from collections.abc import Callable
from functools import partial
from typing import Any

import streamlit as st

from nonlocal_lens.app.atlas.taken import figure_file, html_page, point_of, table_csv
from nonlocal_lens.app.atlas.walls import Wall

KINDS = {
    "png": "image/png",
    "svg": "image/svg+xml",
    "pdf": "application/pdf",
    "html": "text/html",
    "csv": "text/csv",
}
HELP = "Drawn when you press it, as the wall is arranged now; HTML is the wall itself, offline."


def offer_files(wall: Wall, view: dict[str, Any]) -> None:
    """Offer a wall as files of several kinds, as it is shown."""
    subject = wall.subject
    stem = f"{subject.title}.{wall.picture.name}.atlas"
    if subject.means is not None:
        stem = f"{subject.title}.{subject.means.counted}.atlas"
    stem = stem.replace(" ", "-").replace("/", "-")
    make: dict[str, Callable[[], bytes]] = {
        kind: partial(_figure, wall, view, kind) for kind in ("png", "svg", "pdf")
    }
    make["html"] = lambda: html_page(wall.subject, wall.buffers, view)
    make["csv"] = lambda: table_csv(wall.subject, wall.heads)
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


def _figure(wall: Wall, view: dict[str, Any], kind: str) -> bytes:
    subject = wall.subject
    return figure_file(subject, wall.heads, view, point_of(subject, view), kind)
