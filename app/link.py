"""What a page shows, in its address: written short, read with care. Pure functions.

Only characters that no browser escapes are used, so that what is written is what is seen. Names of
files and paths have no place in an address: a picture is a sample, a street's number, or the hash
of what was uploaded.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from analysis.render import PALETTES
from analysis.terms import TERMS
from app.pictures import SAMPLES, STREETS
from app.viewer.view import DIRECTIONS, MOST_POINTS, MOST_QUERIES, SCALES, Query, View

MOST_LETTERS = 1900
"""An address of this many letters and a host's name is read by every browser and mail program."""

MOST_NETWORKS = 4
MOST_PIXELS = 100_000
QUERY_LETTERS = 1000

NAME = re.compile(r"[\w.-]{1,80}", re.ASCII)
HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Link:
    """What an address can say; None and empty where it says nothing."""

    picture: str | None = None  # the id of an app.pictures.Picture
    networks: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    view: View = field(default_factory=View)


def write(link: Link) -> dict[str, str]:
    """Return the parameters of an address; queries that would make it too long are left out."""
    view = link.view
    written = {
        "picture": link.picture or "",
        "networks": "~".join(link.networks),
        "block": "~".join(link.blocks),
        "q": _write_queries(view.queries),
        "scale": view.scale or "",
        "opacity": "" if view.opacity is None else f"{view.opacity:.2f}",
        "colors": view.palette or "",
        "direction": view.direction or "",
        "maps": "-".join(view.terms or ()),
        "shown": "-".join(map(str, view.shown or ())),
        "difference": "-".join(map(str, view.difference or ())),
    }
    return {name: text for name, text in written.items() if text}


def read(params: Mapping[str, str], networks: Sequence[str]) -> tuple[Link, list[str]]:
    """Return what an address says, and a sentence for everything in it that was ignored.

    Args:
        params: The address's parameters, whoever wrote them.
        networks: The networks there are.
    """
    notices: list[str] = []

    def value(name: str, convert: Callable[[str], Any], what: str, nothing: Any = None) -> Any:
        text = params.get(name, "")
        if not text:
            return nothing
        try:
            if len(text) > MOST_LETTERS:
                raise ValueError
            return convert(text)
        except ValueError:
            shown = text if len(text) <= 40 else f"{text[:40]}…"
            notices.append(f"{name}={shown!r} in the link was ignored: it must be {what}")
            return nothing

    view = View(
        queries=value("q", _read_queries, f"at most {MOST_QUERIES} queries in pixels", ()),
        scale=value("scale", _one_of(SCALES), " or ".join(SCALES)),
        palette=value("colors", _one_of(PALETTES), " or ".join(PALETTES)),
        opacity=value("opacity", _read_opacity, "a number from 0 to 1"),
        direction=value("direction", _one_of(DIRECTIONS), " or ".join(DIRECTIONS)),
        terms=value("maps", _read_terms, f"some of {', '.join(TERMS)}"),
        shown=value("shown", _read_indices, "numbers of networks in the list"),
        difference=value("difference", _read_pair, "the numbers of two networks in the list"),
    )

    def known_networks(text: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(text.split("~")))
        if len(names) > MOST_NETWORKS or not set(names) <= set(networks):
            raise ValueError
        return names

    def names(text: str) -> tuple[str, ...]:
        found = tuple(text.split("~"))
        if len(found) > MOST_NETWORKS or not all(map(NAME.fullmatch, found)):
            raise ValueError
        return found

    link = Link(
        picture=value("picture", _read_picture, "a sample, street-NUMBER, or a hash"),
        networks=value(
            "networks", known_networks, f"at most {MOST_NETWORKS} of {', '.join(networks)}", ()
        ),
        blocks=value("block", names, "names of blocks", ()),
        view=view,
    )
    return link, notices


def _write_queries(queries: Sequence[Query]) -> str:
    """Write tenths of pixels: `x-y` a pixel, four numbers a rectangle, more a lasso."""
    written: list[str] = []
    for query in queries[:MOST_QUERIES]:
        numbers = [str(round(10 * number)) for point in query.points for number in point]
        if len("_".join([*written, "-".join(numbers)])) > QUERY_LETTERS:
            break
        written.append("-".join(numbers))
    return "_".join(written)


def _read_queries(text: str) -> tuple[Query, ...]:
    queries = []
    for part in text.split("_"):
        numbers = [_read_number(number) / 10 for number in part.split("-")]
        if len(numbers) % 2 or not 1 <= len(numbers) // 2 <= MOST_POINTS:
            raise ValueError
        queries.append(Query(tuple(zip(numbers[::2], numbers[1::2], strict=True))))
    if len(queries) > MOST_QUERIES:
        raise ValueError
    return tuple(queries)


def _read_number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", text) or int(text) > 10 * MOST_PIXELS:
        raise ValueError
    return int(text)


def _read_opacity(text: str) -> float:
    if not re.fullmatch(r"[01](\.[0-9]{1,4})?", text) or float(text) > 1:
        raise ValueError
    return float(text)


def _read_picture(text: str) -> str:
    sample = text.removeprefix("sample-")
    street = re.fullmatch(r"street-([0-9]{1,7})", text)
    known = (text.startswith("sample-") and sample in SAMPLES) or bool(HASH.fullmatch(text))
    if not known and not (street and int(street[1]) < STREETS):
        raise ValueError
    return text


def _read_terms(text: str) -> tuple[str, ...]:
    terms = text.split("-")
    if not set(terms) <= set(TERMS):
        raise ValueError
    return tuple(term for term in TERMS if term in terms)


def _read_indices(text: str) -> tuple[int, ...]:
    indices = tuple(_read_number(number) for number in text.split("-"))
    if len(indices) > MOST_NETWORKS or len(set(indices)) < len(indices):
        raise ValueError
    return indices


def _read_pair(text: str) -> tuple[int, ...]:
    pair = _read_indices(text)
    if len(pair) != 2:
        raise ValueError
    return pair


def _one_of(known: Sequence[str]) -> Callable[[str], str]:
    def read_one(text: str) -> str:
        if text not in known:
            raise ValueError
        return text

    return read_one
