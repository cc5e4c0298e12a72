"""The networks that a page can offer: what they are called, and what is said about them."""

from pathlib import Path

from models import list_networks
from models.checkpoint import WEIGHTS
from models.checkpoints.download import cached
from models.published import PUBLISHED
from models.zoo import NETWORKS


def image_networks() -> tuple[str, ...]:
    """Return the bundled networks that look at a picture and have attention to show."""
    return tuple(name for name in list_networks("segmentation") if _block_of(name))


def clip_networks() -> tuple[str, ...]:
    """Return the bundled networks that look at a clip and have attention to show."""
    return tuple(name for name in list_networks("clips") if _block_of(name))


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
