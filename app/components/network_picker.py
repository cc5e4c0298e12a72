"""Choose a network: a bundled one, a published one (downloaded here on demand), or a file's."""

from collections.abc import Sequence
from typing import TypeVar

import streamlit as st

from analysis.record import AttentionRecord
from app import cache
from app.markdown import literal
from app.networks import (
    clip_networks,
    image_networks,
    is_here,
    published_label,
    title_of,
)
from app.uploads import in_users_words, keep
from models.checkpoints.download import cached, fetch
from models.published import PUBLISHED
from models.zoo import NETWORKS

PUBLISHED_ENTRY = "Published network…"
FILE_ENTRY = "Open a file…"
FILE_TYPES = ["safetensors", "pth", "pt", "pkl", "pyth"]
FILE_MEGABYTES = 1024
VIDEOS = "Kinetics-400"  # what published networks were trained on that look at clips
OPENED = "opened network"  # where the session keeps the path of the last file

Part = TypeVar("Part")


def choose_network(prefix: str = "explore", *, clips: bool = False) -> str | None:
    """Let the user choose a network; return what `load_network` takes, None until it is loaded.

    What stands in the way is said here, in a sentence.

    Args:
        prefix: What the keys of the widgets begin with.
        clips: Whether networks that look at clips are offered, too: before all others.
    """
    bundled = [*(clip_networks() if clips else ()), *image_networks()]
    entries = [*bundled, PUBLISHED_ENTRY, FILE_ENTRY]
    entry = st.selectbox("Network", entries, format_func=title_of, key=f"{prefix}-network")
    source: str | None = entry
    if entry == PUBLISHED_ENTRY:
        source = _choose_published(prefix, clips)
    elif entry == FILE_ENTRY:
        source = _open_file()
    else:
        st.caption(f"`{entry}`: {NETWORKS[entry].summary}")
    if source is None:
        return None
    try:
        module, _ = cache.network(source)
    except (ValueError, OSError) as error:
        st.error(f"This network cannot be used: {literal(in_users_words(str(error)))}.")
        return None
    decisions = getattr(module, "decisions", ())
    if decisions:
        with st.popover("What was decided on loading", type="tertiary"):
            st.markdown("\n".join(f"- {literal(decision)}" for decision in decisions))
    return source


def offered_networks() -> list[str]:
    """Return all networks that are here: bundled, downloaded, and the file that is open."""
    opened: str | None = st.session_state.get(OPENED)
    here = [name for name in PUBLISHED if is_here(name)]
    return [*image_networks(), *here, *([opened] if opened else [])]


def open_network(source: str, block: str, head: int | None, prefix: str = "explore") -> None:
    """Choose a network, a block and a head; to be called before the widgets are drawn."""
    entry = source
    if source in PUBLISHED:
        entry = PUBLISHED_ENTRY
        st.session_state[f"{prefix}-published"] = source
    elif source not in NETWORKS:
        entry = FILE_ENTRY
        st.session_state[OPENED] = source
    st.session_state[f"{prefix}-network"] = entry
    st.session_state[f"{prefix}-block"] = block
    st.session_state[f"{prefix}-head"] = head


def choose_record(records: tuple[AttentionRecord, ...], prefix: str = "explore") -> int:
    """Let the user choose among the blocks and heads of a network; return the record's index.

    Where there is one only, nothing is shown.
    """
    block = _choose_part("Block", [record.block for record in records], f"{prefix}-block")
    heads = [record.head for record in records if record.block == block]
    head = _choose_part("Head", heads, f"{prefix}-head")
    return next(
        index
        for index, record in enumerate(records)
        if record.block == block and record.head == head
    )


def _choose_part(label: str, parts: Sequence[Part], key: str) -> Part:
    """Let the user choose if there is a choice; what another network had is forgotten."""
    parts = list(dict.fromkeys(parts))
    if st.session_state.get(key) not in parts:
        st.session_state.pop(key, None)
    if len(parts) == 1:
        return parts[0]
    return st.selectbox(label, parts, key=key)


def _choose_published(prefix: str, clips: bool) -> str | None:
    def place(name: str) -> tuple[bool, bool]:
        return not is_here(name), clips and PUBLISHED[name].dataset != VIDEOS

    names = sorted(PUBLISHED, key=place)
    name = st.selectbox(
        "Published network",
        names,
        format_func=published_label,
        key=f"{prefix}-published",
        help="✓ is downloaded, ↓ is not yet. After its size: what it is, and its license.",
    )
    spec = PUBLISHED[name]
    st.caption(
        f"`{name}`: {spec.title}. {spec.metric} {spec.score:.3f} on {spec.dataset}. "
        f"License: {spec.license}."
    )
    if is_here(name) or _download(name):
        return name
    return None


def _download(name: str) -> bool:
    """Offer the download; return whether the network is here now.

    Whatever else the user does on the page interrupts it; it goes on from there the next time.
    """
    spec = PUBLISHED[name]
    path = cached(spec.url)
    started = path.with_name(path.name + ".partial")
    label = f"Go on ({started.stat().st_size / 1e6:.0f} MB are here)" if started.exists() else ""
    if not st.button(label or "Download", icon=":material/download:", type="primary"):
        size = spec.size[:1].upper() + spec.size[1:]
        st.caption(f"{size} from {spec.url.split('/')[2]}, kept in `{path.parent}`.")
        return False
    bar = st.progress(0.0, f"Connecting to {spec.url.split('/')[2]}…")

    def progress(arrived: int, total: int | None) -> None:
        of = f" of {total / 1e6:.0f}" if total else ""
        share = min(arrived / total, 1.0) if total else 0.0
        bar.progress(share, f"{arrived / 1e6:.0f}{of} MB")

    try:
        fetch(spec.url, spec.sha256_prefix, progress)
    except (ValueError, OSError) as error:
        bar.empty()
        st.error(f"{error}.")
        return False
    bar.empty()
    return True


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
