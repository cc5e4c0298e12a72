"""The address of a page: what it said when the page was opened, and what is shown there now."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import streamlit as st

from nonlocal_lens.app import session
from nonlocal_lens.app.address_fields import Field, read_fields, write_fields
from nonlocal_lens.app.link import Link, read, write
from nonlocal_lens.app.markdown import literal
from nonlocal_lens.app.networks import clip_networks, image_networks
from nonlocal_lens.app.uploads import kept_file, kept_token
from nonlocal_lens.models.libraries import LibraryName
from nonlocal_lens.models.published import PUBLISHED

LINKABLE = re.compile(
    r"(timm:(hf[-_]hub:[\w.-]+/)?|torchvision:|hf:([\w.-]+/)?)[\w.-]+"
    r"(\?\w+=[\w.-]*(&\w+=[\w.-]*)*)?",
    re.ASCII,
)
MOST, MOST_OPTIONS = 4096, 8
"""What options of a network in a link may be, and how many."""

NOTICES = "notices"  # where the session keeps what was ignored of the address


def opened_link(page: str, fields: Sequence[Field] = ()) -> Link | None:
    """Return what the address says if the page was just opened with one; None to go on as before.

    Choices that the address names are made. A notice says what was ignored, as long as the page is
    shown.

    Args:
        page: Names the page; each has its own.
        fields: What the address of this page names beside a link.
    """
    link = None
    if session.arrived(page):
        params = st.query_params.to_dict()
        st.session_state[NOTICES] = []
        if params:
            own = {field.param for field in fields}
            others = {name: text for name, text in params.items() if name not in own}
            link, notices = read(others, _known_networks(others))
            link = replace(link, networks=tuple(map(_source, link.networks)))
            made, more = read_fields(params, fields)
            for field in fields:  # what an address does not name was not chosen
                session.forget(field.choice)
            for name, value in made.items():
                session.choose(name, value)
            st.session_state[NOTICES] = notices + more
    for notice in st.session_state.get(NOTICES, []):
        st.warning(f"{literal(notice)}.")
    return link


def keep_address(link: Link, fields: Sequence[Field] = ()) -> None:
    """Let the address say what is shown."""
    tokens = tuple(filter(None, map(token_of, link.networks)))
    blocks = link.blocks if tokens else ()  # of no network they would be anybody's
    named = replace(link, networks=tokens, blocks=blocks)
    params = write(named) | write_fields(fields, session.chosen)
    if st.query_params.to_dict() != params:
        st.query_params.from_dict(params)


def networks_field(param: str, choice: str) -> Field:
    """Return a choice of networks in the address of a page; those of no token are left out."""

    def read_names(text: str) -> list[str]:
        names = list(dict.fromkeys(text.split("~")))
        if not set(names) <= set(_known_networks({"networks": text})):
            raise ValueError
        return list(map(_source, names))

    def write_names(sources: Sequence[str]) -> str:
        return "~".join(filter(None, map(token_of, sources)))

    return Field(param, choice, write_names, read_names, "names of networks")


def token_of(source: str) -> str | None:
    """Return what a network is called in an address; None if it can have no place in one.

    That of a file is a part of its hash: it opens again as long as the app runs.
    """
    if source in PUBLISHED or source in (*image_networks(), *clip_networks()):
        return source
    return source if is_linkable(source) else kept_token(source)


def is_linkable(source: str) -> bool:
    """Return whether a text names a network of another library that a link may open.

    It names no file and no folder, and its options are few and small: whoever follows a link did
    not write it.
    """
    named = LibraryName.read(source)
    if named is None or not LINKABLE.fullmatch(source):
        return False
    try:
        options = named.options
    except ValueError:
        return False
    small = all(not isinstance(value, int | float) or value <= MOST for value in options.values())
    local = named.prefix == "hf" and Path(named.name).expanduser().exists()
    return small and len(options) <= MOST_OPTIONS and "file" not in options and not local


def known_source(token: str) -> str:
    """Return what `load_network` takes for a token; ValueError if there is none such."""
    if token not in _known_networks({"networks": token}):
        raise ValueError
    return _source(token)


def _source(token: str) -> str:
    path = kept_file(token)
    return token if path is None else str(path)


def _known_networks(params: Mapping[str, Any]) -> list[str]:
    tokens = str(params.get("networks", "")).split("~")
    named = [token for token in tokens if kept_file(token) is not None or is_linkable(token)]
    return [*image_networks(), *clip_networks(), *PUBLISHED, *named]
