"""The networks that a page can offer: what they are called, and what is said about them."""

from collections.abc import Sequence
from pathlib import Path

from nonlocal_lens.models import list_networks
from nonlocal_lens.models.bundled import WEIGHTS
from nonlocal_lens.models.download import cached
from nonlocal_lens.models.libraries import LIBRARIES, LibraryName
from nonlocal_lens.models.libraries.offered import offer
from nonlocal_lens.models.networks.description import Task
from nonlocal_lens.models.published import PUBLISHED
from nonlocal_lens.models.zoo import NETWORKS


def image_networks() -> tuple[str, ...]:
    """Return the bundled networks that look at a picture and have attention to show."""
    return tuple(
        name for name in list_networks("segmentation") if NETWORKS[name].architecture.attends
    )


def clip_networks() -> tuple[str, ...]:
    """Return the bundled networks that look at a clip and have attention to show."""
    return _attending("clips")


def _attending(task: Task) -> tuple[str, ...]:
    return tuple(name for name in list_networks(task) if NETWORKS[name].architecture.attends)


GROUPS = {
    "Papers": ("streets-dnl", "streets-nl", "streets-gc", "clips-dnl", "clips-nl"),
    "Ablations of the papers": (
        "streets-pairwise",
        "streets-unary",
        "streets-product",
        "streets-sum",
        "streets-gaussian",
        "streets-dot",
        "streets-concat",
        "clips-nl-space",
        "clips-nl-time",
    ),
}
"""What bundled networks are grouped by where they are chosen; transformers by their task."""


def grouped(names: Sequence[str]) -> dict[str, list[str]]:
    """Return bundled networks by group, in the order in which they are to be read."""
    groups: dict[str, list[str]] = {group: [] for group in (*GROUPS, "Transformers", "Others")}
    for name in names:
        known = next((group for group, members in GROUPS.items() if name in members), None)
        groups[known or ("Transformers" if "vit" in name else "Others")].append(name)
    return {group: members for group, members in groups.items() if members}


def title_of(source: str) -> str:
    """Return what a network is called in a list: of a file, its name."""
    if source in NETWORKS:
        return NETWORKS[source].title
    if source in PUBLISHED:
        return PUBLISHED[source].title
    named = LibraryName.read(source)
    if named is not None:
        weights = ", random weights" if is_random(named) else ""
        return f"{named.title} ({LIBRARIES[named.prefix]}{weights})"
    return source.rpartition("/")[2]


def short_name(source: str) -> str:
    """Return what a network is called beside its numbers: of a file, its name without the rest."""
    if source in NETWORKS or source in PUBLISHED:
        return source
    named = LibraryName.read(source)
    return title_of(source) if named is None else named.title


def is_random(named: LibraryName | None) -> bool:
    """Return whether a name of another library asks for random weights."""
    try:
        return named is not None and named.is_random
    except ValueError:  # its options are none
        return False


SHORTER = (
    ("Disentangled non-local", "Disentangled"),
    (" with non-local blocks", ""),
    (" of SlowFast", " (SlowFast)"),
    ("ResNet-", "R"),
    ("output stride", "stride"),
    (" iterations", ""),
)
"""What a title loses in a list, where the end of a long line is cut off."""


def published_label(name: str) -> str:
    """Return a published network's line in a list: whether it is here, its size, what it is."""
    spec, megabytes = PUBLISHED[name], size_mb(name)
    state = f"↓ {spec.size}" if megabytes is None else f"✓ {megabytes:.0f} MB"
    title = spec.title
    for long, short in SHORTER:
        title = title.replace(long, short)
    return f"{state.replace('about ', '')} · {title} · {spec.license}"


def is_here(source: str) -> bool:
    """Return whether a network can be loaded without a download."""
    named = LibraryName.read(source)
    if named is not None:
        try:
            return offer(named).here
        except (ValueError, ImportError):
            return False
    return source not in PUBLISHED or weights_path(source).is_file()


def weights_path(source: str) -> Path:
    """Return where a network's weights are, or will be once it is downloaded."""
    if source in PUBLISHED:
        return cached(PUBLISHED[source].url)
    return WEIGHTS / f"{source}.safetensors" if source in NETWORKS else Path(source)


def size_mb(name: str) -> float | None:
    """Return a published network's size in megabytes; None before it is downloaded."""
    path = weights_path(name)
    return path.stat().st_size / 1e6 if path.is_file() else None
