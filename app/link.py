"""What a page shows, in its address: written short, read with care. Pure functions.

Only characters that no browser escapes are used, so that what is written is what is seen. Names of
files and paths have no place in an address: a picture is a sample, a street's number, or the hash
of what was uploaded.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from analysis.render import DIVERGING_PALETTES, PALETTES
from analysis.terms import TERMS
from app.pictures import SAMPLES, STREETS
from app.viewer.view import (
    DIRECTIONS,
    FIXED_ENDS,
    MOST_ARROWS,
    MOST_BOXES,
    MOST_EXCLUDED,
    MOST_POINTS,
    MOST_QUERIES,
    SCALES,
    Query,
    View,
)
from app.viewer.view import MOST_LETTERS as MOST_NAME_LETTERS

MOST_LETTERS = 1900
"""An address of this many letters and a host's name is read by every browser and mail program."""

MOST_NETWORKS = 4
MOST_PIXELS = 100_000
QUERY_LETTERS = 800
NAMES_LETTERS = 320

NAME = re.compile(r"[\w.-]{1,80}", re.ASCII)
HASH = re.compile(r"[0-9a-f]{64}")


LOOKS: dict[str, Callable[[View], bool]] = {
    "smooth": lambda view: view.smooth is True,
    "color": lambda view: view.grey is False,
    "prediction": lambda view: view.prediction is True,
}
"""What differs from how a viewer opens."""


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
    queries = _write_queries(view.queries)
    last = queries.count("_")
    written = {
        "picture": link.picture or "",
        "networks": "~".join(link.networks),
        "block": "~".join(link.blocks),
        "q": queries,
        "names": _write_names(view.queries[: queries.count("_") + 1] if queries else ()),
        "chosen": ""
        if view.active in (None, last) or not 0 <= view.active < last
        else str(view.active + 1),
        "scale": view.scale or "",
        "fixed": _decimal(view.fixed) if view.scale == "fixed" and view.fixed else "",
        "opacity": "" if view.opacity is None else f"{view.opacity:.2f}",
        "colors": view.palette or "",
        "signed": view.signed_palette or "",
        "look": "-".join(name for name, there in LOOKS.items() if there(view)),
        "marks": _write_marks(view),
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
        signed_palette=value(
            "signed", _one_of(DIVERGING_PALETTES), " or ".join(DIVERGING_PALETTES)
        ),
        fixed=value("fixed", _read_fixed, "a number above 0"),
        active=value("chosen", _read_chosen, "the number of a query"),
        opacity=value("opacity", _read_opacity, "a number from 0 to 1"),
        direction=value("direction", _one_of(DIRECTIONS), " or ".join(DIRECTIONS)),
        terms=value("maps", _read_terms, f"some of {', '.join(TERMS)}"),
        shown=value("shown", _read_indices, "numbers of networks in the list"),
        difference=value("difference", _read_pair, "the numbers of two networks in the list"),
    )

    def names_of_queries(text: str) -> tuple[Query, ...]:
        names = _read_names(text)
        if len(names) > len(view.queries):
            raise ValueError
        named = zip(view.queries, names, strict=False)
        return tuple(replace(query, name=name) for query, name in named)

    what = f"names of these queries, of at most {MOST_NAME_LETTERS} letters"
    named = value("names", names_of_queries, what, ())
    view = replace(
        view,
        queries=named + view.queries[len(named) :],
        **value("look", _read_look, f"some of {', '.join(LOOKS)}", {}),
        **value(
            "marks", _read_marks, "arrows-NUMBER, boxes-NUMBER, contours or exclude-NUMBER", {}
        ),
    )

    def known_networks(text: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(text.split("~")))
        if len(names) > MOST_NETWORKS or not set(names) <= set(networks):
            raise ValueError
        return names

    def known_names(text: str) -> tuple[str, ...]:
        found = tuple(text.split("~"))
        if len(found) > MOST_NETWORKS or not all(map(NAME.fullmatch, found)):
            raise ValueError
        return found

    link = Link(
        picture=value("picture", _read_picture, "a sample, street-NUMBER, or a hash"),
        networks=value(
            "networks", known_networks, f"at most {MOST_NETWORKS} of {', '.join(networks)}", ()
        ),
        blocks=value("block", known_names, "names of blocks", ()),
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


def _write_names(queries: Sequence[Query]) -> str:
    """Write what queries are called in base64, which has no letter that is escaped."""
    written: list[str] = []
    for query in queries:
        plain = "".join(filter(str.isprintable, query.name))
        name = urlsafe_b64encode(plain.encode()).decode().rstrip("=")
        if len("~".join([*written, name])) > NAMES_LETTERS:
            break
        written.append(name)
    return "~".join(written).rstrip("~")


def _read_names(text: str) -> tuple[str, ...]:
    if not re.fullmatch(r"[\w~-]+", text, re.ASCII):
        raise ValueError
    encoded = text.split("~")
    names = tuple(urlsafe_b64decode(one + "=" * (-len(one) % 4)).decode() for one in encoded)
    if len(names) > MOST_QUERIES or not all(_is_name(name) for name in names):
        raise ValueError
    return names


def _is_name(text: str) -> bool:
    return len(text) <= MOST_NAME_LETTERS and text.isprintable()


def _write_marks(view: View) -> str:
    """Write the marks that are switched on, and how many or how far."""
    written = []
    if view.arrows:
        written.append(f"arrows-{view.arrow_count}" if view.arrow_count else "arrows")
    if view.boxes:
        written.append(f"boxes-{view.box_count}" if view.box_count else "boxes")
    if view.contours:
        written.append("contours")
    reach = _decimal(view.exclude or 0)
    if reach != "0":
        written.append(f"exclude-{reach}")
    return "_".join(written)


def _read_marks(text: str) -> dict[str, Any]:
    marks: dict[str, Any] = {}
    for part in text.split("_"):
        name, _, amount = part.partition("-")
        if name == "arrows":
            marks |= {"arrows": True, "arrow_count": _read_count(amount, MOST_ARROWS)}
        elif name == "boxes":
            marks |= {"boxes": True, "box_count": _read_count(amount, MOST_BOXES)}
        elif part == "contours":
            marks["contours"] = True
        elif name == "exclude":
            marks["exclude"] = _read_decimal(amount, 0, MOST_EXCLUDED)
        else:
            raise ValueError
    return marks


def _read_count(text: str, most: int) -> int | None:
    if text and not 1 <= _read_number(text) <= most:
        raise ValueError
    return int(text) if text else None


def _read_look(text: str) -> dict[str, bool]:
    looks = text.split("-")
    if not set(looks) <= set(LOOKS):
        raise ValueError
    return {
        "smooth": "smooth" in looks,
        "grey": "color" not in looks,
        "prediction": "prediction" in looks,
    }


def _read_chosen(text: str) -> int:
    return (_read_count(text, MOST_QUERIES) or 1) - 1


def _decimal(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _read_decimal(text: str, low: float, high: float) -> float:
    if not re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,6})?", text) or not low <= float(text) <= high:
        raise ValueError
    return float(text)


def _read_fixed(text: str) -> float:
    return _read_decimal(text, *FIXED_ENDS)


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
