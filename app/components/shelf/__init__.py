"""A shelf of pictures to choose from at a glance, and the place where one's own is dropped."""

import base64
import binascii
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st

from nonlocal_lens.app.components.offered_pictures import ON_THE_SHELF, offered

HERE = Path(__file__).parent
KEY = "shelf"

_mount = st.components.v2.component(
    "nonlocal_lens_shelf",
    js=(HERE / "shelf.js").read_text(encoding="utf-8"),
    css=(HERE / "shelf.css").read_text(encoding="utf-8"),
)


class Dropped(NamedTuple):
    """A file that was dropped on the page, pasted or chosen."""

    name: str
    data: bytes


def picture_shelf(
    current: str | None,
    most_megabytes: int,
    take: Callable[[str | Dropped], None],
) -> None:
    """Show thumbnails of the pictures that are offered at a glance.

    Args:
        current: The id of the picture on the page.
        most_megabytes: Greater files are refused in the browser.
        take: Is given what was chosen before the page runs again: a picture's id or a file.
    """

    def chosen() -> None:
        picture = _said("picture")
        if isinstance(picture, str) and picture in ON_THE_SHELF:
            take(picture)

    def dropped() -> None:
        file = _dropped(_said("file"))
        if file is not None:
            take(file)

    data = {
        # no list: to see whether it is a table Streamlit would import pandas, at the first page
        "pictures": tuple(one._asdict() for one in offered()),
        "current": current,
        "most": most_megabytes * 1_000_000,
    }
    _mount(data=data, key=KEY, on_picture_change=chosen, on_file_change=dropped)


def _said(name: str) -> Any:
    return getattr(st.session_state.get(KEY), name, None)


def _dropped(said: Any) -> Dropped | None:
    """Return the file that a browser sends; None if it is none."""
    try:
        return Dropped(str(said["name"])[:200], base64.b64decode(said["data"], validate=True))
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None
