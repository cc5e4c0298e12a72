"""What is chosen on the wall: kept for the session, written into the address, read from it."""

from collections.abc import Hashable
from typing import Any

import streamlit as st

from nonlocal_lens.analysis.atlas import HEAD_MAPS, HEAD_STATISTICS, ORDERS
from nonlocal_lens.app import session
from nonlocal_lens.app.address_fields import Field, flag, one_of
from nonlocal_lens.app.link import NAME
from nonlocal_lens.app.viewer.view import Query, View

SCALES = ("shared", "head", "log")
TWINS = ("all", "without", "only")
SIZES = ("small", "medium", "large")
"""As in order.js and view.js."""

MOST_PICKED = 4
MOST_FILTER = 60
_GIVEN = "atlas given"


def _read_filter(text: str) -> str:
    if len(text) > MOST_FILTER or not text.isprintable():
        raise ValueError
    return text


def _read_picked(text: str) -> list[str]:
    titles = text.split("~")
    if len(titles) > MOST_PICKED or not all(NAME.fullmatch(title) for title in titles):
        raise ValueError
    return titles


FIELDS = (
    one_of("number", "atlas-statistic", HEAD_STATISTICS),
    one_of("order", "atlas-order", ORDERS),
    flag("layers", "atlas-grouped"),
    one_of("map", "atlas-map", HEAD_MAPS),
    one_of("colors", "atlas-scale", SCALES),
    one_of("heads", "atlas-twins", TWINS),
    one_of("size", "atlas-size", SIZES),
    Field("filter", "atlas-filter", str, _read_filter, f"at most {MOST_FILTER} letters"),
    Field("picked", "atlas-picked", "~".join, _read_picked, f"at most {MOST_PICKED} heads"),
)
"""The choices in the address of the page, beside the picture, the network and the query."""

CHOICES = ("statistic", "order", "grouped", "map", "scale", "twins", "size", "filter", "picked")
"""What the wall calls them, see view.js."""


def given_view(wall: Hashable, opened: View) -> dict[str, Any]:
    """Return what a wall opens with; it stays as it is until the page shows something else.

    A wall that was given another view would be sent its picture again.

    Args:
        wall: What tells it from other walls.
        opened: The queries that it opens with.
    """
    at = (session.opening(), wall)
    before = st.session_state.get(_GIVEN)
    if before is None or before[0] != at:
        view = {name: session.chosen(f"atlas-{name}") for name in CHOICES}
        view = {name: value for name, value in view.items() if value not in (None, "", [])}
        query = opened.chosen
        if query is not None and not isinstance(query.spot, str):
            view["query"] = list(query.spot)
        before = st.session_state[_GIVEN] = (at, view)
    given: dict[str, Any] = before[1]
    return given


def keep_choices(view: dict[str, Any] | None) -> View | None:
    """Keep what a wall tells; return its query as other pages have them, None if it told nothing.

    Args:
        view: What the wall says; whoever wrote it, only what makes sense is taken.
    """
    if view is None:
        return None
    for name, field in zip(CHOICES, FIELDS, strict=True):
        value = view.get(name)
        try:
            value = field.read(field.write(value)) if value not in (None, "", []) else None
        except (ValueError, TypeError, AttributeError):
            continue
        if value is None or value == USUAL.get(name):
            session.forget(f"atlas-{name}")
        else:
            session.choose(f"atlas-{name}", value)
    point: Any = view.get("query")
    try:
        x, y = (float(number) for number in point)
    except (TypeError, ValueError):
        return None
    return View(queries=(Query(((x, y),)),))


USUAL = {
    "statistic": HEAD_STATISTICS[0],
    "order": "highest",
    "grouped": True,
    "map": "whole",
    "scale": "shared",
    "twins": "all",
    "size": "medium",
}
"""What a wall shows before anything is chosen."""
