"""Networks of timm, by the names that `timm.list_models` gives them."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import nn

from nonlocal_lens.models.libraries import LibraryName
from nonlocal_lens.models.libraries.finishing import (
    finished,
    read_weights,
    seeded,
    take,
    unknown,
    without_weights,
)
from nonlocal_lens.models.libraries.sizes import Size, take_size

OF_LIBRARY = ("hf-hub", "local-dir")
"""Schemes of timm's own, for models of a hub's and of a folder's."""


def load(named: LibraryName, options: dict[str, Any]) -> nn.Module:
    """Return a network; see `load_library_network`.

    Options are `pretrained` (True), `seed` of random weights (0), `file` with other weights, `size`
    of pictures (N or HxW), and what the network's own class takes.
    """
    import timm

    options = dict(options)
    pretrained = take(options, "pretrained", True, bool)
    seed = take(options, "seed", 0, int)
    file = take(options, "file", None, str)
    size = take_size(named, options)
    name, scheme = named.name, named.name.partition(":")[0]
    base = name.partition(".")[0]
    if scheme not in OF_LIBRARY and not timm.is_model(base):
        raise unknown(named, timm.list_models())
    try:
        with seeded(seed):
            network: nn.Module = _created(name, pretrained and file is None, size, options)
    except TypeError as error:
        raise ValueError(f"{named}: {_first(error)}") from error
    except (AssertionError, RuntimeError, ValueError, KeyError) as error:
        if pretrained and file is None and not isinstance(error, AssertionError):
            raise without_weights(named, "timm keeps them in the hub's cache", error) from error
        raise ValueError(f"{named} cannot be built: {_first(error)}") from error
    except Exception as error:  # what the hub's client raises when there is no way to the hub
        raise without_weights(named, "timm keeps them in the hub's cache", error) from error
    about = getattr(network, "pretrained_cfg", {})
    path, source, revision = _weights(about) if pretrained else (None, f"random, seed {seed}", "")
    if file is not None:
        path = read_weights(named, network, file)
        source, revision = str(path), ""
    return finished(
        named,
        network,
        weights=path,
        source=source,
        revision=revision,
        classes=_classes(network),
        decisions=_decisions(about),
        size=size,
    )


def _created(name: str, pretrained: bool, size: Size | None, options: dict[str, Any]) -> nn.Module:
    """Return a network of timm, built for a size where it is built for one."""
    import timm

    if size is not None:
        with suppress(TypeError):  # others take any
            sized: nn.Module = timm.create_model(
                name, pretrained=pretrained, img_size=size, **options
            )
            return sized
    network: nn.Module = timm.create_model(name, pretrained=pretrained, **options)
    return network


def _first(error: Exception) -> str:
    return str(error).partition("\n")[0][:200] or type(error).__name__


def _weights(about: dict[str, Any]) -> tuple[Path | None, str, str]:
    """Return the file of a network's weights, where it is from, and its revision."""
    repository, folder = about.get("hf_hub_id"), about.get("file")
    if folder:
        return Path(folder), str(folder), ""
    if isinstance(repository, str):
        import huggingface_hub

        for file in ("model.safetensors", "pytorch_model.bin"):
            found = huggingface_hub.try_to_load_from_cache(repository, file)
            if isinstance(found, str):
                return Path(found), f"{repository} of the Hugging Face hub", Path(found).parent.name
    return None, str(about.get("url") or repository or "timm's"), str(about.get("tag") or "")


def _classes(network: nn.Module) -> tuple[str, ...] | None:
    """Return the names of ImageNet's classes where timm knows which of its subsets it is."""
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    about = getattr(network, "pretrained_cfg", {})
    count = getattr(network, "num_classes", 0)
    names = about.get("label_names")
    if names and len(names) == count:
        return tuple(map(str, names))
    subset = infer_imagenet_subset(network) if count else None
    if not subset:
        return None
    labels = ImageNetInfo(subset)
    return tuple(labels.index_to_description(index) for index in range(count))


def _decisions(about: dict[str, Any]) -> tuple[str, ...]:
    share = about.get("crop_pct")
    if not share or share == 1:
        return ()
    return (f"timm tests it on the middle {share:.3g} of a picture; here all of it is seen",)
