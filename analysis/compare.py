"""Several networks on the same images, as one table."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from nonlocal_lens.analysis.over_dataset import Labeled, over_dataset
from nonlocal_lens.models.libraries import LibraryName

if TYPE_CHECKING:
    import pandas as pd

Network = str | Path | nn.Module
"""A network, or what `models.load_network` makes one of."""


def compare(
    networks: Sequence[Network] | Mapping[str, Network],
    images: str | Path | Iterable[Labeled],
    *,
    seed: int = 0,
) -> "pd.DataFrame":
    """Measure several networks on the same images.

    Args:
        networks: Names, files of weights or modules; a mapping says what to call them.
        images: See `analysis.over_dataset`.
        seed: Of everything random in the statistics, the same for all networks.

    Returns:
        The rows of `analysis.over_dataset` for one network after the other, with the column
        `network` before them: one number per cell, ready for `groupby("network")`.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: There is no network, two have the same name, a network or an image cannot be
            used.
    """
    import pandas as pd

    named = titled(networks)
    if not named:
        raise ValueError("there are no networks to compare")
    images = images if isinstance(images, str | Path) else list(images)
    frames = []
    for title, network in named.items():
        frame = over_dataset(network, images, seed=seed)
        frame.insert(0, "network", title)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def titled(networks: Sequence[Network] | Mapping[str, Network]) -> dict[str, nn.Module]:
    """Return loaded networks by what they are called: name, file name or class.

    Raises:
        FileNotFoundError: A path does not exist.
        ValueError: A name is unknown, a file is no network, or two are called the same.
    """
    if isinstance(networks, Mapping):
        return {title: loaded(network) for title, network in networks.items()}
    by_title: dict[str, nn.Module] = {}
    for network in networks:
        title = title_of(network)
        if title in by_title:
            raise ValueError(
                f"two networks are called {title!r}: give a dictionary of names and networks"
            )
        by_title[title] = loaded(network)
    return by_title


def title_of(network: Network) -> str:
    """Return what to call a network: its name, the name of its file, or its class."""
    if isinstance(network, nn.Module):
        return type(network).__name__
    named = LibraryName.read(str(network))
    if named is not None:
        return named.title
    return Path(network).stem if Path(network).is_file() else str(network)


def loaded(network: Network) -> nn.Module:
    """Return a network as it is, or load it."""
    from nonlocal_lens.models import load_network  # with torchvision, which takes long to import

    return network if isinstance(network, nn.Module) else load_network(network)
