"""Networks of torchvision, by the names that `torchvision.models.list_models` gives them."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from nonlocal_lens.models.foreign_preprocess import foreign_preprocess
from nonlocal_lens.models.libraries import LibraryName
from nonlocal_lens.models.libraries.finishing import (
    finished,
    read_weights,
    seeded,
    take,
    unknown,
    without_weights,
)
from nonlocal_lens.models.libraries.sizes import Size, stretched, take_size


def load(named: LibraryName, options: dict[str, Any]) -> nn.Module:
    """Return a network; see `load_library_network`.

    Options are `pretrained` (True), `weights` (a name such as IMAGENET1K_V1, none for random ones;
    the library's default if not given), `seed` of random weights (0), `file` with other weights,
    `size` of pictures (N or HxW), and what the network's builder takes.
    """
    from torchvision.models import get_model, get_model_weights, list_models

    options = dict(options)
    pretrained = take(options, "pretrained", True, bool)
    chosen = take(options, "weights", "DEFAULT", str)
    seed = take(options, "seed", 0, int)
    file = take(options, "file", None, str)
    size = take_size(named, options)
    if named.name not in list_models():
        raise unknown(named, list_models())
    kinds = get_model_weights(named.name)
    pretrained = pretrained and chosen is not None
    if pretrained and file is None and chosen not in kinds.__members__:
        raise ValueError(
            f"{named.name} has no weights {chosen!r}; available: {', '.join(kinds.__members__)}"
        )
    weights = kinds[chosen] if pretrained and file is None else None
    if weights is not None and "num_classes" not in options:
        options["num_classes"] = len(weights.meta["categories"])
    backbone = {"weights_backbone": None} if _has_backbone(named.name) else {}
    try:
        with seeded(seed):
            sized = _image_size(named, size)
            network: nn.Module = get_model(named.name, weights=None, **backbone, **sized, **options)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise ValueError(f"{named} cannot be built: {reason}") from error
    path, source, revision = None, f"random, seed {seed}", ""
    if weights is not None:
        path = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
        source, revision = weights.url, weights.name
        try:
            state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
            network.load_state_dict(state if size is None else stretched(state, network, size))
        except (OSError, RuntimeError) as error:
            raise without_weights(named, str(path), error) from error
    if file is not None:
        path = read_weights(named, network, file)
        source = str(path)
    return finished(
        named,
        network,
        weights=path if path is not None and path.is_file() else None,
        source=source,
        revision=revision,
        classes=None if weights is None else weights.meta.get("categories"),
        preprocess=foreign_preprocess(network) if not _of_clips(network) else None,
        size=size,
    )


def _image_size(named: LibraryName, size: Size | None) -> dict[str, int]:
    """Return the argument of builders that are for one size.

    Raises:
        ValueError: They take squares, and this is none.
    """
    if size is None or not named.name.startswith("vit_"):
        return {}
    if size[0] != size[1]:
        raise ValueError(f"{named}: its size must be a square, got {size[0]}x{size[1]}")
    return {"image_size": size[0]}


def _has_backbone(name: str) -> bool:
    from inspect import signature

    from torchvision.models import get_model_builder

    return "weights_backbone" in signature(get_model_builder(name)).parameters


def _of_clips(network: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv3d) for module in network.modules())
