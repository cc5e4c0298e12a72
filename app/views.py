"""Pinned queries and how maps look, on whatever page a picture is shown.

Pins belong to a picture, looks to the session, and which maps stand side by side to a page and its
networks. A viewer opens with all three and goes its own way from there; what it tells is kept.
"""

from dataclasses import fields, replace
from typing import Any

import streamlit as st

from nonlocal_lens.app.components import places
from nonlocal_lens.app.link import Link
from nonlocal_lens.app.pictures import Picture
from nonlocal_lens.app.session import opening
from nonlocal_lens.app.shown import first_view
from nonlocal_lens.app.viewer.view import Query, View

PINS, LOOKS, MAPS = "pins", "looks", "maps"  # where the session keeps them
_OPENED = "opened view"

OF_A_PAGE = ("terms", "shown", "difference")
OF_A_PICTURE = ("queries", "active", "frame")
OF_A_SESSION = tuple(
    field.name for field in fields(View) if field.name not in (*OF_A_PAGE, *OF_A_PICTURE, "query")
)


def view_of(picture: str, maps: Any, first: View | None = None) -> View:
    """Return the view of a picture that the session remembers.

    Args:
        picture: The picture's id.
        maps: Names the page and what it shows side by side.
        first: What is shown of a picture, and of these maps, that were not seen before.
    """
    first = first or View()
    pins = _kept(PINS).get(picture, {name: getattr(first, name) for name in OF_A_PICTURE})
    shown = _kept(MAPS).get(maps, {name: getattr(first, name) for name in OF_A_PAGE})
    return View(**pins, **_kept(LOOKS), **shown)


def keep_view(view: View, picture: str, maps: Any) -> None:
    """Remember what a viewer shows of a picture, or what a link says of it."""
    _kept(PINS)[picture] = {name: getattr(view, name) for name in OF_A_PICTURE}
    _kept(MAPS)[maps] = {name: getattr(view, name) for name in OF_A_PAGE}
    looks = {name: getattr(view, name) for name in OF_A_SESSION}
    _kept(LOOKS).update({name: value for name, value in looks.items() if value is not None})


def take_view(link: Link, picture: Picture | None, maps: Any) -> None:
    """Remember what a link says of the view of the picture that it names.

    Args:
        link: What an address says.
        picture: The picture that is shown; None if it is gone.
        maps: As of `view_of`.
    """
    named = link.picture or (None if picture is None else picture.id)
    if named is None:
        return
    view = link.view
    if link.picture is None and not view.queries:  # it does not say: what is pinned stays
        before = view_of(named, maps, None if picture is None else first_view(picture))
        view = replace(view, queries=before.queries, active=before.active)
    keep_view(view, named, maps)


def looks() -> View:
    """Return how maps look in the viewer, without pins and without which maps there are."""
    return View(**_kept(LOOKS))


def opened_view(picture: str, maps: Any, first: View | None = None) -> tuple[str, View]:
    """Return what a viewer that opens now is called, and what it opens with.

    Both stay as they are until the page is opened again or shows another picture: a viewer that is
    given another view would leave what its user does.
    """
    at = (opening(), picture, maps)
    before = st.session_state.get(_OPENED)
    if before is None or before[0] != at:
        number = 0 if before is None else before[1] + 1
        before = st.session_state[_OPENED] = (at, number, view_of(picture, maps, first))
    return places.viewer_key(before[1]), before[2]


def pins_of(picture: str) -> tuple[Query, ...]:
    """Return the queries that are pinned in a picture."""
    queries: tuple[Query, ...] = _kept(PINS).get(picture, {}).get("queries", ())
    return queries


def _kept(what: str) -> dict[Any, Any]:
    kept: dict[Any, Any] = st.session_state.setdefault(what, {})
    return kept
