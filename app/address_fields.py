"""Choices of a page in its address, beside pictures, networks and pins: declared in one line."""

import re
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

MOST_LETTERS = 400
MOST_WORDS = 120


class Field(NamedTuple):
    """A choice that an address can name; what nobody chose is left out."""

    param: str
    choice: str  # its name in the session
    write: Callable[[Any], str]
    read: Callable[[str], Any]  # ValueError for whatever it cannot be
    what: str  # it must be, in words


def one_of(param: str, choice: str, options: Sequence[str]) -> Field:
    """Return a choice of one among several."""
    known = {slug(option): option for option in options}

    def read(text: str) -> str:
        if text not in known:
            raise ValueError
        return known[text]

    return Field(param, choice, slug, read, f"one of {_few(list(known))}")


def some_of(param: str, choice: str, options: Sequence[str]) -> Field:
    """Return a choice of some among several, in an order of their own."""
    known = {slug(option): option for option in options}

    def read(text: str) -> list[str]:
        names = list(dict.fromkeys(text.split("~")))
        if not set(names) <= set(known):
            raise ValueError
        return [known[name] for name in names]

    def write(values: Sequence[str]) -> str:
        return "~".join(map(slug, values))

    return Field(param, choice, write, read, f"some of {_few(list(known))}")


def number(param: str, choice: str, low: float, high: float, *, whole: bool = True) -> Field:
    """Return a choice of a number, from `low` to `high`."""

    def read(text: str) -> float:
        if not re.fullmatch(r"-?[0-9]{1,9}(\.[0-9]{1,6})?", text):
            raise ValueError
        value = int(text) if whole else float(text)
        if not isfinite(value) or not low <= value <= high:
            raise ValueError
        return value

    def write(value: float) -> str:
        return str(value) if whole else f"{value:.6f}".rstrip("0").rstrip(".")

    return Field(param, choice, write, read, f"a number from {low:g} to {high:g}")


def flag(param: str, choice: str) -> Field:
    """Return a choice between yes and no."""
    return one_of(param, choice, ("no", "yes"))._replace(
        write=lambda value: "yes" if value else "no", read=_read_flag
    )


def _read_flag(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError
    return text == "yes"


def words(param: str, choice: str) -> Field:
    """Return a choice by a name that only the page knows; it shows another if it is gone."""

    def read(text: str) -> str:
        if len(text) > MOST_WORDS or not text.isprintable():
            raise ValueError
        return text

    return Field(param, choice, str, read, f"at most {MOST_WORDS} letters")


def ranges(param: str, choice: str) -> Field:
    """Return a choice of numbers from 0 on, such as 0-3~7."""

    def read(text: str) -> list[int]:
        found: list[int] = []
        for part in text.split("~"):
            if not re.fullmatch(r"[0-9]{1,6}(-[0-9]{1,6})?", part):
                raise ValueError
            first, _, last = part.partition("-")
            found += range(int(first), min(int(last or first), int(first) + 10_000) + 1)
        return sorted(set(found))

    def write(numbers: Sequence[int]) -> str:
        runs: list[list[int]] = []
        for one in sorted(set(numbers)):
            if runs and one == runs[-1][-1] + 1:
                runs[-1].append(one)
            else:
                runs.append([one])
        return "~".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)

    return Field(param, choice, write, read, "numbers such as 0-3~7")


def slug(text: str) -> str:
    """Return an option with letters only that no address escapes."""
    return re.sub(r"[^\w.-]+", "-", text.lower(), flags=re.ASCII).strip("-")


def write_fields(fields: Sequence[Field], chosen: Callable[[str], Any]) -> dict[str, str]:
    """Return the parameters of what was chosen."""
    found = ((field, chosen(field.choice)) for field in fields)
    written = {field.param: field.write(value) for field, value in found if value is not None}
    return {param: text for param, text in written.items() if 0 < len(text) <= MOST_LETTERS}


def read_fields(
    params: Mapping[str, str], fields: Sequence[Field]
) -> tuple[dict[str, Any], list[str]]:
    """Return the choices that an address names, and a sentence for each that was ignored."""
    choices, notices = {}, []
    for field in fields:
        text = params.get(field.param, "")
        if not text:
            continue
        try:
            if len(text) > MOST_LETTERS:
                raise ValueError
            choices[field.choice] = field.read(text)
        except ValueError:
            shown = text if len(text) <= 40 else f"{text[:40]}…"
            notices.append(
                f"{field.param}={shown!r} in the link was ignored: it must be {field.what}"
            )
    return choices, notices


def _few(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
