"""Search all networks by name; what opening one takes is said before it is taken."""

from collections.abc import Mapping
from functools import cache

import streamlit as st

from nonlocal_lens.app import cache as kept_results
from nonlocal_lens.app.components.time_left import TimeLeft
from nonlocal_lens.app.markdown import literal
from nonlocal_lens.app.networks import is_here, is_random, published_label
from nonlocal_lens.app.uploads import user_message
from nonlocal_lens.models.download import cached, fetch
from nonlocal_lens.models.libraries import LIBRARIES, LibraryName, offered
from nonlocal_lens.models.libraries.offered import Offer
from nonlocal_lens.models.published import PUBLISHED

VIDEOS = "Kinetics-400"  # what published networks were trained on that look at clips

PLACEHOLDER = "Type a name: vit_base, dinov2, swin, dnl_r50…"
HELP = (
    "✓ is here. Other names can be typed, too: timm:NAME, torchvision:NAME, hf:OWNER/NAME or a "
    "folder, with options as in timm:NAME?pretrained=false&depth=4."
)


def search_network(prefix: str, *, clips: bool = False) -> str | None:
    """Let the user search all networks; return the one to open, None until there is one.

    Args:
        prefix: What the keys of the widgets begin with.
        clips: Whether networks that look at clips come first among the published ones.
    """
    with st.spinner("Reading the names…"):
        labels = _labels(clips)
    found: str | None = st.selectbox(
        "Search networks",
        [*labels],
        index=None,
        format_func=lambda name: labels.get(name, name),
        placeholder=PLACEHOLDER,
        accept_new_options=True,
        help=HELP,
        key=f"{prefix}-search",
    )
    absent = [p for p in LIBRARIES.values() if p not in map(LIBRARIES.get, _installed())]
    for package in absent:
        st.caption(f"{package} is not installed: `pip install nonlocal-lens[{package}]`")
    if found is None:
        st.caption(f"{len(labels)} names of {_in_words()}. Nothing is downloaded until you say so.")
        return None
    source = full_name(found)
    if source not in labels and LibraryName.read(source) is None:
        return _choose_among(found, labels, prefix)
    return ready(source, prefix)


def _choose_among(words: str, labels: dict[str, str], prefix: str) -> str | None:
    """Let the user choose among the names that hold what was typed; say so where none does."""
    matches = names_with(words, labels)
    if not matches:
        return ready(words, prefix)
    found: str | None = st.selectbox(
        f"Names with {literal(words)}",
        matches,
        index=None,
        format_func=lambda name: labels.get(name, name),
        placeholder=f"{len(matches)} names: choose one",
        key=f"{prefix}-among",
    )
    return None if found is None else ready(found, prefix)


def names_with(words: str, labels: Mapping[str, str]) -> list[str]:
    """Return the names whose lines hold all of some words, whatever their case."""
    parts = words.lower().split()
    return [name for name, line in labels.items() if all(one in line.lower() for one in parts)]


def full_name(typed: str) -> str:
    """Return the name that somebody means: an id of the hub may stand without its `hf:`."""
    typed = typed.strip()
    plain = LibraryName.read(typed) is None and typed.count("/") == 1 and " " not in typed
    return f"hf:{typed}" if plain and typed not in PUBLISHED else typed


def ready(source: str, prefix: str) -> str | None:
    """Say what it takes to open a network, and return its name once it may be opened.

    Args:
        source: What `load_network` takes.
        prefix: What the keys of the widgets begin with.
    """
    if source in PUBLISHED:
        spec = PUBLISHED[source]
        if not is_here(source):
            st.caption(
                f"`{source}`: {spec.title}. {spec.metric} {spec.score:.3f} on {spec.dataset}. "
                f"License: {spec.license}."
            )
        return source if is_here(source) or _download_published(source) else None
    named = LibraryName.read(source)
    if named is None:
        st.error(
            f"There is no network {literal(source)}: choose one of the list, or type a name that "
            "begins with timm\\:, torchvision\\: or hf\\:."
        )
        return None
    try:
        found = offered.offer(named)
    except (ValueError, ImportError) as error:
        st.error(f"This network cannot be opened: {literal(str(error))}.")
        return None
    return source if found.here else _offer_download(named, found, prefix)


def _offer_download(named: LibraryName, found: Offer, prefix: str) -> str | None:
    """Offer to download a network's weights, or to go without; return what may be opened."""
    asked: dict[str, Offer] = st.session_state.setdefault("asked hub", {})
    found = asked.get(str(named), found)
    size = "unknown size" if found.megabytes is None else f"about {found.megabytes:.0f} MB"
    if named.prefix == "hf" and not found.license:
        stated = "on its card at the hub"
    else:
        stated = found.license or "not stated"
    st.caption(
        f"`{named}` is not here. To download: **{size}** from {found.keeper}, kept where "
        f"{LIBRARIES[named.prefix]} keeps it. License: **{literal(stated)}**."
    )
    download, plain, ask = st.columns([1, 1, 1], width=640)
    if download.button("Download and open", type="primary", key=f"{prefix}-download"):
        try:
            with st.spinner(f"Downloading {size}…"):
                kept_results.network(str(named))
        except (ValueError, OSError, ImportError) as error:
            st.error(f"This network cannot be opened: {literal(user_message(str(error)))}.")
            return None
        return str(named)
    if plain.button(
        "Open with random weights",
        key=f"{prefix}-random",
        help="Nothing is downloaded, and nothing in what you see was learned.",
    ):
        return f"{named}{'&' if named.query else '?'}{offered.RANDOM}"
    unknown = named.prefix == "hf" and found.megabytes is None
    if unknown and ask.button("Ask the hub for its size", key=f"{prefix}-ask"):
        try:
            asked[str(named)] = offered.ask_hub(named)
        except FileNotFoundError as error:
            st.error(f"{literal(str(error))}.")
        else:
            st.rerun()
    return None


@st.cache_data(ttl=60, show_spinner=False)
def _labels(clips: bool) -> dict[str, str]:
    """Return the line of every name in the list: what is here first, then published networks."""

    def place(name: str) -> tuple[bool, bool]:
        return not is_here(name), clips and PUBLISHED[name].dataset != VIDEOS

    labels = {name: published_label(name) for name in sorted(PUBLISHED, key=place)}
    here: dict[str, str] = {}
    for prefix in _installed():
        kept, stated = offered.names_here(prefix), offered.licenses(prefix)
        for name in offered.offered_names(prefix):
            words = [name.partition("?")[0]]
            words += ["random weights"] if "?" in name else []
            words += [stated[name]] if name in stated else []
            line = " · ".join(words)
            if name in kept:
                here[name] = f"✓ {line}"
            else:
                labels[name] = line
    return here | labels


@cache
def _installed() -> tuple[str, ...]:
    return offered.installed_libraries()


def _in_words() -> str:
    return ", ".join(["published work", *(LIBRARIES[prefix] for prefix in _installed())])


def _download_published(name: str) -> bool:
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
    left = TimeLeft()
    bar = st.progress(0.0, f"Connecting to {spec.url.split('/')[2]}…")

    def progress(arrived: int, total: int | None) -> None:
        of = f" of {total / 1e6:.0f}" if total else ""
        share = min(arrived / total, 1.0) if total else 0.0
        bar.progress(share, f"{arrived / 1e6:.0f}{of} MB{left.words(arrived, total)}")

    try:
        fetch(spec.url, spec.sha256_prefix, progress)
    except (ValueError, OSError) as error:
        bar.empty()
        st.error(f"{error}.")
        return False
    bar.empty()
    return True


def about_library(source: str) -> list[str]:
    """Return what is to be said of a network of another library; nothing of others."""
    named = LibraryName.read(source)
    if named is None:
        return []
    said = [f"`{named}`, a network of {LIBRARIES[named.prefix]}."]
    if is_random(named):
        said.append("**Random weights: nothing in what it shows was learned.**")
    return said
