"""What a page shows, in its address: written short, read with care. Pure functions.

Only characters that no browser escapes are used, so that what is written is what is seen; names of
other libraries' networks alone have others. Names of files and paths have no place in an address: a
picture is a sample, a street's number, or the hash of what was uploaded.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from nonlocal_lens.analysis.clips import MOST_FRAMES
from nonlocal_lens.app.pictures import SAMPLES, STREETS
from nonlocal_lens.app.viewer.settings import SETTINGS, Setting
from nonlocal_lens.app.viewer.view import (
    MAPS,
    MOST_POINTS,
    MOST_QUERIES,
    Query,
    View,
    is_category,
    is_token,
)
from nonlocal_lens.app.viewer.view import MOST_LETTERS as MOST_NAME_LETTERS

MOST_LETTERS = 1900
"""An address of this many letters and a host's name is read by every browser and mail program."""

MOST_NETWORKS = 4
MOST_PIXELS = 100_000
QUERY_LETTERS = 800
NAMES_LETTERS = 320

NAME = re.compile(r"[\w.-]{1,80}", re.ASCII)
HASH = re.compile(r"[0-9a-f]{64}")

ALONE = tuple(one for one in SETTINGS.values() if one.link and not one.word)
"""Settings with a parameter of their own."""

LOOKS, MARKS = (
    tuple(one for one in SETTINGS.values() if one.word and one.link == link)
    for link in ("look", "marks")
)
"""Settings that are words of one parameter: what differs from how a viewer opens."""


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
    queries = write_queries(view.queries)
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
        **{setting.link: _write_setting(setting, view) for setting in ALONE},
        "look": "-".join(one.word for one in LOOKS if _is_changed(one, view)),
        "marks": _write_marks(view),
        "frame": "" if view.frame is None else str(view.frame + 1),
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
        queries=value("q", read_queries, f"at most {MOST_QUERIES} queries in pixels", ()),
        active=value("chosen", _read_chosen, "the number of a query"),
        frame=value("frame", _read_frame, "the number of a frame"),
        terms=value("maps", _read_terms, f"some of {', '.join(MAPS)}"),
        shown=value("shown", _read_indices, "numbers of networks in the list"),
        difference=value("difference", _read_pair, "the numbers of two networks in the list"),
        **{
            setting.name: value(setting.link, partial(_read_setting, setting), _what(setting))
            for setting in ALONE
        },
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
        **value("look", _read_look, f"some of {', '.join(one.word for one in LOOKS)}", {}),
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
            "networks", known_networks, f"at most {MOST_NETWORKS} of {_few(networks)}", ()
        ),
        blocks=value("block", known_names, "names of blocks", ()),
        view=view,
    )
    return link, notices


def write_queries(queries: Sequence[Query]) -> str:
    """Write tenths of pixels: `x-y` a pixel, four numbers a rectangle, more a lasso.

    All of a predicted class is `x-y-CLASS`; a token that lies nowhere is `~NAME`.
    """
    written: list[str] = []
    for query in queries[:MOST_QUERIES]:
        one = _write_query(query)
        if len("_".join([*written, one])) > QUERY_LETTERS:
            break
        written.append(one)
    return "_".join(written)


def _write_query(query: Query) -> str:
    """Write a query; of a token's name all but letters and digits as `.XX`, byte by byte."""
    if query.token is not None:
        return "~" + "".join(
            letter if re.fullmatch(r"[A-Za-z0-9]", letter, re.ASCII) else _escaped(letter)
            for letter in query.token
        )
    place = "-".join(str(round(10 * number)) for point in query.points for number in point)
    return place if query.category is None else f"{place}-{query.category.replace(' ', '.')}"


def _escaped(letter: str) -> str:
    return "".join(f".{byte:02x}" for byte in letter.encode())


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


def _write_setting(setting: Setting, view: View) -> str:
    """Write a setting that has a parameter of its own."""
    value = getattr(view, setting.name)
    if value is None or (setting.name == "fixed" and view.scale != "fixed"):
        return ""
    if setting.kind == "flag":
        return "" if value == setting.default else ("yes" if value else "no")
    if setting.kind == "number":
        return _decimal(value) if setting.high > 1 else f"{value:.2f}"
    if setting.kind == "count":
        return "" if value == setting.default else str(value)
    return str(value)


def _read_setting(setting: Setting, text: str) -> Any:
    if setting.kind == "flag":
        return {"yes": True, "no": False}[_one_of(("yes", "no"))(text)]
    if setting.kind == "number":
        return _read_decimal(text, setting.low, setting.high)
    if setting.kind == "count":
        if not setting.low <= _read_number(text) <= setting.high:
            raise ValueError
        return int(text)
    return _one_of(setting.choices)(text)


def _what(setting: Setting) -> str:
    """Return what a parameter must be, in words."""
    if setting.kind == "flag":
        return "yes or no"
    if setting.kind == "choice":
        return " or ".join(setting.choices)
    return f"a number from {setting.low:g} to {setting.high:g}"


def _is_changed(setting: Setting, view: View) -> bool:
    value = getattr(view, setting.name)
    return value is not None and value != setting.default


def _write_marks(view: View) -> str:
    """Write the marks that are switched on, and how many or how far."""
    written = []
    for setting in MARKS:
        value = getattr(view, setting.name)
        amount = getattr(view, setting.count) if setting.count else None
        if setting.kind == "number":
            amount = _decimal(value or 0)
            value = amount != "0"
        if value:
            written.append(f"{setting.word}-{amount}" if amount else setting.word)
    return "_".join(written)


def _read_marks(text: str) -> dict[str, Any]:
    marks: dict[str, Any] = {}
    known = {setting.word: setting for setting in MARKS}
    for part in text.split("_"):
        word, dash, amount = part.partition("-")
        setting = known.get(word)
        if setting is None or (dash and setting.kind == "flag" and not setting.count):
            raise ValueError
        if setting.kind == "number":
            marks[setting.name] = _read_decimal(amount, setting.low, setting.high)
            continue
        marks[setting.name] = True
        if setting.count:
            marks[setting.count] = _read_count(amount, int(SETTINGS[setting.count].high))
    return marks


def _read_count(text: str, most: int) -> int | None:
    if text and not 1 <= _read_number(text) <= most:
        raise ValueError
    return int(text) if text else None


def _read_look(text: str) -> dict[str, bool]:
    words = text.split("-")
    if not set(words) <= {setting.word for setting in LOOKS}:
        raise ValueError
    return {one.name: (not one.default) if one.word in words else one.default for one in LOOKS}


def _read_frame(text: str) -> int:
    return (_read_count(text, MOST_FRAMES) or 1) - 1


def _read_chosen(text: str) -> int:
    return (_read_count(text, MOST_QUERIES) or 1) - 1


def _decimal(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _read_decimal(text: str, low: float, high: float) -> float:
    if not re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,6})?", text) or not low <= float(text) <= high:
        raise ValueError
    return float(text)


def read_queries(text: str) -> tuple[Query, ...]:
    """Return the queries that `write_queries` wrote; ValueError for anything else."""
    queries = []
    for part in text.split("_"):
        if part.startswith("~"):
            queries.append(Query((), token=_read_token(part[1:])))
            continue
        words = part.split("-")
        category = words.pop().replace(".", " ") if words[-1][:1].isalpha() else None
        numbers = [_read_number(number) / 10 for number in words]
        if len(numbers) % 2 or not 1 <= len(numbers) // 2 <= MOST_POINTS:
            raise ValueError
        if category is not None and (len(numbers) > 2 or not is_category(category)):
            raise ValueError
        points = tuple(zip(numbers[::2], numbers[1::2], strict=True))
        queries.append(Query(points, category=category))
    if len(queries) > MOST_QUERIES:
        raise ValueError
    return tuple(queries)


def _read_token(text: str) -> str:
    if not re.fullmatch(r"([A-Za-z0-9]|\.[0-9a-f]{2})+", text, re.ASCII):
        raise ValueError
    bytes_of = re.sub(r"\.(..)|(.)", lambda at: at[1] or f"{ord(at[2]):02x}", text)
    name = bytes.fromhex(bytes_of).decode()  # what is no UTF-8 is a ValueError, too
    if not is_token(name):
        raise ValueError
    return name


def _read_number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", text) or int(text) > 10 * MOST_PIXELS:
        raise ValueError
    return int(text)


def _read_picture(text: str) -> str:
    sample = text.removeprefix("sample-")
    street = re.fullmatch(r"street-([0-9]{1,7})", text)
    known = (text.startswith("sample-") and sample in SAMPLES) or bool(HASH.fullmatch(text))
    if not known and not (street and int(street[1]) < STREETS):
        raise ValueError
    return text


def _read_terms(text: str) -> tuple[str, ...]:
    terms = text.split("-")
    if not set(terms) <= set(MAPS):
        raise ValueError
    return tuple(term for term in MAPS if term in terms)


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


def _few(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (" and others" if len(names) > most else "")


def _one_of(known: Sequence[str]) -> Callable[[str], str]:
    def read_one(text: str) -> str:
        if text not in known:
            raise ValueError
        return text

    return read_one
