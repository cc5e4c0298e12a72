"""The board of a survey: charts and a table with thumbnails; what is picked in one is in all."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from nonlocal_lens.app.session import choose, chosen
from nonlocal_lens.app.viewer.bundle import HERE as VIEWER
from nonlocal_lens.app.viewer.bundle import joined

HERE = Path(__file__).parent
KEY = "board"
PICKED, SORT = "survey-picked", "survey-sort"  # names of the choices

MODULES = (VIEWER / "elements.js", VIEWER / "charts.js", HERE / "dots.js", HERE / "board.js")

_mount = st.components.v2.component(
    "nonlocal_lens_board",
    js=joined(MODULES),
    css=(HERE / "board.css").read_text(encoding="utf-8"),
)


def survey_board(data: Mapping[str, Any], opening: str) -> tuple[int, int] | None:
    """Show the board; return the picture and the series that its user opens, by number.

    What is picked, and how the table is sorted, are choices of the session.

    Args:
        data: As `app.survey.at_a_glance.board_data` gives it.
        opening: Changes when the board is to show what the session has picked, and not what its
            user did since.
    """

    def picked() -> None:
        choose(PICKED, read_items(_said("picked")))

    def sorted_by() -> None:
        choose(SORT, str(_said("sort"))[:20])

    shown = {
        **data,
        "picked": chosen(PICKED, []),
        "sort": chosen(SORT, ""),
        "opening": opening,
    }
    mounted = _mount(
        data=shown,
        key=KEY,
        on_picked_change=picked,
        on_sort_change=sorted_by,
        on_open_change=lambda: None,
    )
    return _opened(getattr(mounted, "open", None))


def read_items(said: Any) -> list[int]:
    """Return the numbers of pictures in what a browser says; whatever is none is left out."""
    items = said if isinstance(said, Sequence) and not isinstance(said, str) else ()
    known = [item for item in items if isinstance(item, int) and not isinstance(item, bool)]
    return sorted({item for item in known if 0 <= item < 1_000_000})


def _said(name: str) -> Any:
    return getattr(st.session_state.get(KEY), name, None)


def _opened(said: Any) -> tuple[int, int] | None:
    try:
        return int(said["item"]), int(said["series"])
    except (KeyError, TypeError, ValueError):
        return None
