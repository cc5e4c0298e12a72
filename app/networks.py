"""The networks that a page can offer: what they are called, and what is said about them."""

from models import list_networks
from models.checkpoints.download import cached
from models.published import PUBLISHED
from models.zoo import NETWORKS


def image_networks() -> tuple[str, ...]:
    """Return the bundled networks that look at a picture and have attention to show."""
    return tuple(name for name in list_networks("segmentation") if _block_of(name))


def _block_of(name: str) -> str | None:
    return getattr(NETWORKS[name].architecture, "block", None)


def title_of(source: str) -> str:
    """Return what a network is called in a list: of a file, its name."""
    if source in NETWORKS:
        return NETWORKS[source].title
    if source in PUBLISHED:
        return PUBLISHED[source].title
    return source.rpartition("/")[2]


def short_name(source: str) -> str:
    """Return what a network is called beside its numbers: of a file, its name without the rest."""
    return source if source in NETWORKS or source in PUBLISHED else title_of(source)


def published_label(name: str) -> str:
    """Return a published network's line in a list: what it is, and whether it is here."""
    megabytes = size_mb(name)
    state = "to download" if megabytes is None else f"downloaded, {megabytes:.0f} MB"
    return f"{PUBLISHED[name].title} · {state}"


def is_here(source: str) -> bool:
    """Return whether a network can be loaded without a download."""
    return source not in PUBLISHED or cached(PUBLISHED[source].url).is_file()


def size_mb(name: str) -> float | None:
    """Return a published network's size in megabytes; None before it is downloaded."""
    path = cached(PUBLISHED[name].url)
    return path.stat().st_size / 1e6 if path.is_file() else None
