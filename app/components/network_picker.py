"""Choose a network: one that was open before, a bundled one, any by name, or a file's."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.app import cache
from nonlocal_lens.app.components.network_search import about_library, ready, search_network
from nonlocal_lens.app.markdown import literal
from nonlocal_lens.app.networks import (
    clip_networks,
    grouped,
    image_networks,
    is_here,
    is_random,
    short_name,
    title_of,
)
from nonlocal_lens.app.session import choose, chosen, kept
from nonlocal_lens.app.shown import Part
from nonlocal_lens.app.uploads import keep, user_message
from nonlocal_lens.models.libraries import LibraryName
from nonlocal_lens.models.published import PUBLISHED
from nonlocal_lens.models.zoo import NETWORKS

SEARCH_ENTRY = "Search all networks…"
FILE_ENTRY = "Open a file…"
FILE_TYPES = ["safetensors", "pth", "pt", "pkl", "pyth"]
FILE_MEGABYTES = 1024
OPENED = "opened network"  # where the session keeps the path of the last file
RECENT = "recent networks"  # where it keeps which others were open, the last one first
MOST_RECENT = 8

NETWORK = "explore-network"  # the name of the choice, for pages that have none of their own

Chosen = TypeVar("Chosen")


def current_network() -> str:
    """Return the network that is chosen, on pages where there is no choice."""
    entry = chosen(NETWORK, image_networks()[0])
    if entry == SEARCH_ENTRY:
        return next(iter(recent_networks()), image_networks()[0])
    if entry == FILE_ENTRY:
        return str(st.session_state.get(OPENED, image_networks()[0]))
    return str(entry)


def recent_networks() -> list[str]:
    """Return the networks beside the bundled ones that were open, the last one first."""
    recent: list[str] = st.session_state.setdefault(RECENT, [])
    return recent


def choose_network(
    prefix: str = "explore", *, clips: bool = False, bar: DeltaGenerator | None = None
) -> str | None:
    """Let the user choose a network; return what `load_network` takes, None until it is loaded.

    What stands in the way is said here, in a sentence.

    Args:
        prefix: What the keys of the widgets begin with.
        clips: Whether networks that look at clips are offered, too: before all others.
        bar: Where there is little height: what is said of the network is behind a button there.
    """
    bundled = [*(clip_networks() if clips else ()), *image_networks()]
    name = f"{prefix}-network"
    known = {*bundled, SEARCH_ENTRY, FILE_ENTRY}
    now = chosen(name) or chosen(NETWORK)
    others = dict.fromkeys(
        [*([now] if is_named(now) and now not in NETWORKS else ()), *recent_networks()]
    )
    entries = [*(one for one in others if one not in known), *bundled, SEARCH_ENTRY, FILE_ENTRY]
    first = chosen(NETWORK) if chosen(NETWORK) in entries else bundled[0]
    entry = (bar or st).selectbox(
        "Network",
        entries,
        format_func=title_of,
        label_visibility="visible" if bar is None else "collapsed",
        width="stretch" if bar is None else 270,
        **kept(name, first, among=entries),
    )
    source: str | None = entry
    if entry == SEARCH_ENTRY:
        source = search_network(prefix, clips=clips)
    elif entry == FILE_ENTRY:
        source = _open_file()
    elif entry not in bundled:
        source = ready(entry, prefix)
    if source is None:
        return None
    try:
        with bar or nullcontext():  # what is said meanwhile moves nothing that is below
            module, _ = cache.network(source)
    except (ValueError, OSError, ImportError) as error:
        st.error(f"This network cannot be used: {literal(user_message(str(error)))}.")
        return None
    if source != entry and entry != FILE_ENTRY:
        choose(name, source)
        _remember(source)
        st.rerun()
    if entry not in bundled and entry != FILE_ENTRY:
        _remember(source)
    if bar is None and source in NETWORKS:
        st.caption(f"`{source}`: {NETWORKS[source].summary}")
    if is_random(LibraryName.read(source)):
        (bar or st).badge("random weights", icon=":material/casino:", color="orange")
    decisions = tuple(getattr(module, "decisions", ()))
    if bar is not None:
        with bar, st.popover("About", icon=":material/info:", type="tertiary"):
            st.caption(about_networks(source, bundled, decisions))
    elif decisions:
        with st.popover("What was decided on loading", type="tertiary"):
            st.markdown("\n".join(f"- {literal(decision)}" for decision in decisions))
    return source


def about_networks(source: str, bundled: Sequence[str], decisions: Sequence[str]) -> str:
    """Return what is known of a network and of those that can be chosen, as Markdown."""
    said = [f"**{literal(title_of(source))}** (`{short_name(source)}`)"]
    if source in NETWORKS:
        said.append(literal(NETWORKS[source].summary))
    said += about_library(source)
    if decisions:
        said += ["**What was decided on loading**", *(f"- {literal(one)}" for one in decisions)]
    for group, names in grouped(bundled).items():
        said.append(f"**{group}**")
        said += [f"- `{name}`: {literal(NETWORKS[name].summary)}" for name in names]
    lines: list[str] = []
    for line in said:
        lines += [line] if line.startswith("- ") else ["", line, ""]
    return "\n".join(lines).strip()


def offered_networks() -> list[str]:
    """Return all networks that are here: bundled, downloaded, open before, and the open file."""
    opened: str | None = st.session_state.get(OPENED)
    here = [name for name in PUBLISHED if is_here(name)]
    recent = [name for name in recent_networks() if is_here(name)]
    every = [*image_networks(), *here, *recent, *([opened] if opened else [])]
    return list(dict.fromkeys(every))


def is_named(source: object) -> bool:
    """Return whether a network is called by a name, not by its file's path."""
    if not isinstance(source, str):
        return False
    return source in NETWORKS or source in PUBLISHED or LibraryName.read(source) is not None


def _remember(source: str) -> None:
    recent = [source, *(one for one in recent_networks() if one != source)]
    st.session_state[RECENT] = recent[:MOST_RECENT]


def open_network(source: str, part: Part, prefix: str = "explore") -> None:
    """Choose a network and a part of it; to be called before the widgets are drawn."""
    entry = source
    if not is_named(source):
        entry = FILE_ENTRY
        st.session_state[OPENED] = source
    choose(f"{prefix}-network", entry)
    choose(f"{prefix}-block", part.block or None)
    choose(f"{prefix}-run", (part.call or 0) + 1)
    choose(f"{prefix}-head", part.head)


def choose_record(records: tuple[AttentionRecord, ...], prefix: str = "explore") -> int:
    """Let the user choose among blocks, their runs and heads; return the record's index.

    Where there is one only, nothing is shown. A block that sees a group of frames at a time has a
    run for each group: they are shown together.
    """
    block = _choose_part("Block", [record.block for record in records], f"{prefix}-block", 300)
    there = [record for record in records if record.block == block]
    first = there[0].query_grid
    runs = [
        record.call + 1
        for record in there
        if first is None
        or record.query_grid is None
        or record.query_grid.first_frame == first.first_frame
    ]
    run = _choose_part("Run", runs, f"{prefix}-run", 130)
    heads = [record.head for record in there if record.call + 1 == run]
    head = _choose_part("Head", heads, f"{prefix}-head", 130)
    return next(
        index
        for index, record in enumerate(records)
        if (record.block, record.call + 1, record.head) == (block, run, head)
    )


def _choose_part(label: str, parts: Sequence[Chosen], name: str, width: int) -> Chosen:
    """Let the user choose if there is a choice; what another network had stays chosen there."""
    parts = list(dict.fromkeys(parts))
    if len(parts) == 1:
        return parts[0]
    part: Chosen = st.selectbox(
        label,
        parts,
        format_func=lambda part: f"{label} {part}",
        label_visibility="collapsed",
        width=width,
        **kept(name, parts[0], among=parts),
    )
    return part


def _open_file() -> str | None:
    """Let the user bring a checkpoint; the last one stays open while other pages are visited."""
    file = st.file_uploader(
        "Checkpoint",
        FILE_TYPES,
        max_upload_size=FILE_MEGABYTES,
        key="network-file",
        help="A file of weights in a layout that is known. Nothing in it is executed.",
    )
    if file is not None:
        st.session_state[OPENED] = str(keep(file.getvalue(), file.name))
    opened: str | None = st.session_state.get(OPENED)
    if opened is None:
        return None
    if file is None:
        st.caption(f"Still open: {literal(title_of(opened))}")
    return opened
